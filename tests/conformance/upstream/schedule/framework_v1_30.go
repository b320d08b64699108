//go:build v1_30

package main

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/klog/v2"
	"k8s.io/kubernetes/pkg/features"
	"k8s.io/kubernetes/pkg/scheduler"
	"k8s.io/kubernetes/pkg/scheduler/apis/config"
	"k8s.io/kubernetes/pkg/scheduler/framework"
	"k8s.io/kubernetes/pkg/scheduler/framework/plugins/defaultpreemption"
	"k8s.io/kubernetes/pkg/scheduler/framework/plugins/feature"
	preempting "k8s.io/kubernetes/pkg/scheduler/framework/preemption"
)

type (
	nodeInfo   = *framework.NodeInfo
	cycleState = *framework.CycleState
	status     = framework.Status
)

const unschedulable = framework.Unschedulable

func newInformerFactory(client kubernetes.Interface) informers.SharedInformerFactory {
	return scheduler.NewInformerFactory(client, 0)
}

func enqueue(ctx context.Context, made *scheduler.Scheduler, pod *corev1.Pod) {
	made.SchedulingQueue.Add(klog.FromContext(ctx), pod)
}

func dequeue(_ context.Context, made *scheduler.Scheduler, pod *corev1.Pod) {
	made.SchedulingQueue.Delete(pod)
}

func preFilter(
	ctx context.Context, plugins framework.Framework, state cycleState, pod *corev1.Pod,
) (*framework.PreFilterResult, *status, sets.Set[string]) {
	chosen, why := plugins.RunPreFilterPlugins(ctx, state, pod)
	return chosen, why, nil
}

// refusals says why each node was refused; of nodes that a PreFilter left out it knows nothing.
type refusals struct{ statuses framework.NodeToStatusMap }

func newRefusals() *refusals { return &refusals{framework.NodeToStatusMap{}} }

func (r *refusals) set(node string, why *status) { r.statuses[node] = why }

func (r *refusals) get(node string) *status { return r.statuses[node] }

// others are all the nodes that `set` does not name.
func (r *refusals) others(nodes []nodeInfo, why *status) {
	for _, info := range nodes {
		r.statuses[info.Node().Name] = why
	}
}

func (r *refusals) leftOut(sets.Set[string]) {}

func (r *refusals) diagnosis() framework.Diagnosis {
	return framework.Diagnosis{NodeToStatusMap: r.statuses}
}

// preemption is the plug-in that makes room, asked step by step.
type preemption struct {
	plugin  *defaultpreemption.DefaultPreemption
	plugins framework.Framework
}

func newPreemption(ctx context.Context, args *config.DefaultPreemptionArgs, plugins framework.Framework) (*preemption, error) {
	on := utilfeature.DefaultFeatureGate.Enabled(features.PodDisruptionConditions)
	plugin, err := defaultpreemption.New(ctx, args, plugins, feature.Features{EnablePodDisruptionConditions: on})
	if err != nil {
		return nil, err
	}
	return &preemption{plugin.(*defaultpreemption.DefaultPreemption), plugins}, nil
}

func (p *preemption) eligible(_ context.Context, pod *corev1.Pod, nominated *status) bool {
	yes, _ := p.plugin.PodEligibleToPreemptOthers(pod, nominated)
	return yes
}

func (p *preemption) candidates(
	ctx context.Context, state cycleState, pod *corev1.Pod, nodes []nodeInfo, budgets []*policyv1.PodDisruptionBudget,
) ([]preempting.Candidate, error) {
	evaluator := p.evaluator()
	evaluator.State = state
	found, _, err := evaluator.DryRunPreemption(ctx, pod, nodes, budgets, 0, int32(len(nodes)))
	return found, err
}

func (p *preemption) selected(ctx context.Context, candidates []preempting.Candidate) string {
	return p.evaluator().SelectCandidate(ctx, candidates).Name()
}

func (p *preemption) evaluator() *preempting.Evaluator {
	return &preempting.Evaluator{PluginName: p.plugin.Name(), Handler: p.plugins, Interface: p.plugin}
}
