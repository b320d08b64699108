// The descheduler's own framework and plugins, asked with cases on standard input, one JSON value a line.
//
// What a case is and who invents it: tests/conformance/addons. Where upstream goes through a map, or lists what its
// cache holds, the order is random; so every case is played several times, and the answer is all that came out. An
// eviction is answered as the API does it: budgets are spent, and the pod is then on its way.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand"
	"os"
	"sort"
	"strings"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/testing"
	"k8s.io/client-go/tools/events"
	"k8s.io/component-base/featuregate"
	"k8s.io/klog/v2"
	"sigs.k8s.io/descheduler/pkg/api"
	"sigs.k8s.io/descheduler/pkg/descheduler"
	"sigs.k8s.io/descheduler/pkg/descheduler/evictions"
	nodeutil "sigs.k8s.io/descheduler/pkg/descheduler/node"
	podutil "sigs.k8s.io/descheduler/pkg/descheduler/pod"
	"sigs.k8s.io/descheduler/pkg/features"
	"sigs.k8s.io/descheduler/pkg/framework/pluginregistry"
	"sigs.k8s.io/descheduler/pkg/framework/profile"
)

type question struct {
	Policy  json.RawMessage
	Nodes   []corev1.Node
	Pods    []corev1.Pod
	Budgets []policyv1.PodDisruptionBudget
	Runs    int
}

type answer struct {
	Error    string
	Outcomes [][]string
}

// One playing of a case: the cluster as the descheduler's cache has it, and what was evicted.
type round struct {
	pods    []*corev1.Pod
	budgets []*policyv1.PodDisruptionBudget
	seen    func(*corev1.Pod)
	evicted []string
	chance  *rand.Rand
}

func (r *round) assigned(node string, filter podutil.FilterFunc) ([]*corev1.Pod, error) {
	var found []*corev1.Pod
	for _, pod := range r.pods {
		if pod.Spec.NodeName == node && (filter == nil || filter(pod)) {
			found = append(found, pod)
		}
	}
	r.chance.Shuffle(len(found), func(i, j int) { found[i], found[j] = found[j], found[i] })
	return found, nil
}

func (r *round) evict(eviction *policyv1.Eviction) error {
	for number, pod := range r.pods {
		if pod.Namespace != eviction.Namespace || pod.Name != eviction.Name {
			continue
		}
		if pod.DeletionTimestamp == nil && pod.Status.Phase != corev1.PodPending {
			if err := r.spend(pod); err != nil {
				return err
			}
		}
		going := pod.DeepCopy()
		now := metav1.Now()
		going.DeletionTimestamp = &now
		r.pods[number] = going
		r.seen(going)
		strategy := strings.TrimSuffix(strings.Split(eviction.Annotations["reason"], "/")[1], ": ")
		r.evicted = append(r.evicted, strategy+" "+pod.Namespace+"/"+pod.Name)
		return nil
	}
	return apierrors.NewNotFound(corev1.Resource("pods"), eviction.Name)
}

func (r *round) spend(pod *corev1.Pod) error {
	var mine []*policyv1.PodDisruptionBudget
	for _, budget := range r.budgets {
		selector, err := metav1.LabelSelectorAsSelector(budget.Spec.Selector)
		if err == nil && budget.Namespace == pod.Namespace && selector.Matches(labels.Set(pod.Labels)) {
			mine = append(mine, budget)
		}
	}
	if len(mine) > 1 {
		return apierrors.NewInternalError(fmt.Errorf("more than one budget"))
	}
	if len(mine) == 1 {
		if mine[0].Status.DisruptionsAllowed == 0 {
			return apierrors.NewTooManyRequests("budget", 0)
		}
		mine[0].Status.DisruptionsAllowed--
	}
	return nil
}

func play(asked question, policy *api.DeschedulerPolicy, chance *rand.Rand) ([]string, error) {
	ctx := context.Background()
	client := fake.NewSimpleClientset()
	factory := informers.NewSharedInformerFactory(client, 0)
	podInformer := factory.Core().V1().Pods().Informer()
	nodeInformer := factory.Core().V1().Nodes().Informer()
	budgetInformer := factory.Policy().V1().PodDisruptionBudgets().Informer()
	playing := &round{chance: chance, seen: func(pod *corev1.Pod) { _ = podInformer.GetIndexer().Update(pod) }}
	client.PrependReactor("create", "pods", func(action testing.Action) (bool, runtime.Object, error) {
		created := action.(testing.CreateAction)
		if action.GetSubresource() != "eviction" {
			return false, nil, nil
		}
		return true, nil, playing.evict(created.GetObject().(*policyv1.Eviction))
	})
	gates := featuregate.NewFeatureGate()
	if err := gates.Add(map[featuregate.Feature]featuregate.FeatureSpec{features.EvictionsInBackground: {}}); err != nil {
		return nil, err
	}
	evictor, err := evictions.NewPodEvictor(ctx, client, &events.FakeRecorder{}, podInformer, gates, evictions.NewOptions().
		WithPolicyGroupVersion("v1").
		WithMaxPodsToEvictPerNode(policy.MaxNoOfPodsToEvictPerNode).
		WithMaxPodsToEvictPerNamespace(policy.MaxNoOfPodsToEvictPerNamespace).
		WithMaxPodsToEvictTotal(policy.MaxNoOfPodsToEvictTotal))
	if err != nil {
		return nil, err
	}
	var deschedule, balance []func(nodes []*corev1.Node)
	for number, each := range policy.Profiles {
		made, err := profile.NewProfile(ctx, each, pluginregistry.PluginRegistry,
			profile.WithClientSet(client), profile.WithSharedInformerFactory(factory), profile.WithPodEvictor(evictor),
			profile.WithGetPodsAssignedToNodeFnc(playing.assigned), profile.WithProfileInstanceID(fmt.Sprint(number)))
		if err != nil {
			return nil, err
		}
		deschedule = append(deschedule, func(nodes []*corev1.Node) { made.RunDeschedulePlugins(ctx, nodes) })
		balance = append(balance, func(nodes []*corev1.Node) { made.RunBalancePlugins(ctx, nodes) })
	}
	for number := range asked.Pods {
		pod := asked.Pods[number].DeepCopy()
		playing.pods = append(playing.pods, pod)
		_ = podInformer.GetIndexer().Add(pod)
	}
	for number := range asked.Budgets {
		budget := asked.Budgets[number].DeepCopy()
		playing.budgets = append(playing.budgets, budget)
		_ = budgetInformer.GetIndexer().Add(budget)
	}
	var nodes []*corev1.Node
	wanted := labels.Everything()
	if policy.NodeSelector != nil {
		if wanted, err = labels.Parse(*policy.NodeSelector); err != nil {
			return nil, err
		}
	}
	for number := range asked.Nodes {
		node := asked.Nodes[number].DeepCopy()
		_ = nodeInformer.GetIndexer().Add(node)
		if nodeutil.IsReady(node) && wanted.Matches(labels.Set(node.Labels)) {
			nodes = append(nodes, node)
		}
	}
	chance.Shuffle(len(nodes), func(i, j int) { nodes[i], nodes[j] = nodes[j], nodes[i] })
	if len(nodes) > 1 {
		for _, run := range append(deschedule, balance...) {
			run(nodes)
		}
	}
	sort.Strings(playing.evicted)
	return playing.evicted, nil
}

func judge(asked question) answer {
	file, err := os.CreateTemp("", "policy")
	if err != nil {
		panic(err)
	}
	defer os.Remove(file.Name())
	if _, err := file.Write(asked.Policy); err != nil {
		panic(err)
	}
	file.Close()
	result := answer{}
	known := map[string]bool{}
	for run := 0; run < asked.Runs; run++ {
		policy, err := descheduler.LoadPolicyConfig(file.Name(), fake.NewSimpleClientset(), pluginregistry.PluginRegistry)
		if err != nil {
			return answer{Error: err.Error()}
		}
		evicted, err := play(asked, policy, rand.New(rand.NewSource(int64(run))))
		if err != nil {
			return answer{Error: err.Error()}
		}
		if told := strings.Join(evicted, "\n"); !known[told] {
			known[told] = true
			result.Outcomes = append(result.Outcomes, append([]string{}, evicted...))
		}
	}
	return result
}

func main() {
	klog.LogToStderr(false)
	klog.SetOutput(io.Discard)
	descheduler.SetupPlugins()
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
