// The VerticalPodAutoscaler's own arithmetic, asked with cases on standard input, one JSON value a line.
//
// What a case is and who invents it: tests/conformance/addons.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"sort"
	"time"

	corev1 "k8s.io/api/core/v1"
	vpa "k8s.io/autoscaler/vertical-pod-autoscaler/pkg/apis/autoscaling.k8s.io/v1"
	"k8s.io/autoscaler/vertical-pod-autoscaler/pkg/admission-controller/resource/pod/recommendation"
	"k8s.io/autoscaler/vertical-pod-autoscaler/pkg/recommender/logic"
	"k8s.io/autoscaler/vertical-pod-autoscaler/pkg/recommender/model"
	"k8s.io/autoscaler/vertical-pod-autoscaler/pkg/recommender/routines"
	"k8s.io/autoscaler/vertical-pod-autoscaler/pkg/updater/priority"
	"k8s.io/autoscaler/vertical-pod-autoscaler/pkg/utils/limitrange"
	vpautil "k8s.io/autoscaler/vertical-pod-autoscaler/pkg/utils/vpa"
)

type sample struct {
	Pod       string
	Container string
	Second    float64
	CPU       int64
	Memory    int64
	Killed    bool
}

type question struct {
	Autoscaler vpa.VerticalPodAutoscaler
	Start      time.Time
	Samples    []sample
	Pods       []corev1.Pod
	Age        float64
}

type container struct {
	Requests corev1.ResourceList
	Limits   corev1.ResourceList
	Notes    []string
}

type answer struct {
	Recommendation *vpa.RecommendedPodResources
	Resources      []map[string]container
	Order          []string
}

func recommend(asked question) *vpa.RecommendedPodResources {
	states := map[string]*model.AggregateContainerState{}
	containers := map[string]*model.ContainerState{}
	for _, each := range asked.Samples {
		aggregate, known := states[each.Container]
		if !known {
			aggregate = model.NewAggregateContainerState()
			states[each.Container] = aggregate
		}
		key := each.Pod + "/" + each.Container
		state, known := containers[key]
		if !known {
			state = model.NewContainerState(nil, aggregate)
			containers[key] = state
		}
		at := asked.Start.Add(time.Duration(each.Second * float64(time.Second)))
		if each.Killed {
			_ = state.RecordOOM(at, model.ResourceAmount(each.Memory))
			continue
		}
		state.AddSample(&model.ContainerUsageSample{MeasureStart: at, Usage: model.ResourceAmount(each.CPU), Resource: model.ResourceCPU})
		state.AddSample(&model.ContainerUsageSample{MeasureStart: at, Usage: model.ResourceAmount(each.Memory), Resource: model.ResourceMemory})
	}
	wanted := model.ContainerNameToAggregateStateMap{}
	for name, state := range states {
		policy := vpautil.GetContainerResourcePolicy(name, asked.Autoscaler.Spec.ResourcePolicy)
		if policy != nil && policy.Mode != nil && *policy.Mode == vpa.ContainerScalingModeOff {
			continue
		}
		state.UpdateFromPolicy(policy)
		wanted[name] = state
	}
	recommender := logic.CreatePodResourceRecommender(logic.RecommendationConfig{
		SafetyMarginFraction: 0.15, PodMinCPUMillicores: 25, PodMinMemoryMb: 250,
		TargetCPUPercentile: 0.9, LowerBoundCPUPercentile: 0.5, UpperBoundCPUPercentile: 0.95,
		ConfidenceIntervalCPU: 24 * time.Hour, ConfidenceIntervalMemory: 24 * time.Hour,
		TargetMemoryPercentile: 0.9, LowerBoundMemoryPercentile: 0.5, UpperBoundMemoryPercentile: 0.95,
	})
	listed := logic.MapToListOfRecommendedContainerResources(
		recommender.GetRecommendedPodResources(wanted), logic.RecommendationFormat{RoundCPUMillicores: 1, RoundMemoryBytes: 1})
	return routines.NewCappingRecommendationProcessor(nil).Process(&asked.Autoscaler, listed)
}

func judge(asked question) answer {
	result := answer{Recommendation: recommend(asked)}
	autoscaler := asked.Autoscaler
	autoscaler.Status.Recommendation = result.Recommendation
	calculator := limitrange.NewNoopLimitsCalculator()
	processor := vpautil.NewCappingRecommendationProcessor(calculator)
	provider := recommendation.NewProvider(calculator, processor)
	now := asked.Start.Add(time.Duration(asked.Age * float64(time.Second)))
	order := priority.NewUpdatePriorityCalculator(&autoscaler, priority.UpdateConfig{
		MinChangePriority: 0.1, PodLifetimeUpdateThreshold: 12 * time.Hour, EvictAfterOOMThreshold: 10 * time.Minute,
	}, processor, priority.NewProcessor())
	var pods []*corev1.Pod
	for number := range asked.Pods {
		pod := &asked.Pods[number]
		pods = append(pods, pod)
		found, notes, err := provider.GetContainersResourcesForPod(pod, &autoscaler)
		if err != nil {
			panic(err)
		}
		by := map[string]container{}
		for index, each := range found {
			name := pod.Spec.Containers[index].Name
			if each.Requests == nil && each.Limits == nil {
				continue
			}
			said := append([]string{}, notes[name]...)
			sort.Strings(said)
			by[name] = container{each.Requests, each.Limits, said}
		}
		result.Resources = append(result.Resources, by)
		order.AddPod(pod, now, nil)
	}
	admission := priority.NewScalingDirectionPodEvictionAdmission()
	admission.LoopInit(pods, map[*vpa.VerticalPodAutoscaler][]*corev1.Pod{&autoscaler: pods})
	for _, pod := range order.GetSortedPods(admission) {
		result.Order = append(result.Order, pod.Name)
	}
	return result
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<26)
	for lines.Scan() {
		var asked question
		if err := json.Unmarshal(lines.Bytes(), &asked); err != nil {
			panic(err)
		}
		said, err := json.Marshal(judge(asked))
		if err != nil {
			panic(err)
		}
		fmt.Println(string(said))
	}
}
