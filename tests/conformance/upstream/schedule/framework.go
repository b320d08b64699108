//go:build !v1_30 && !v1_32

package main

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/klog/v2"
	fwk "k8s.io/kube-scheduler/framework"
	"k8s.io/kubernetes/pkg/scheduler"
	"k8s.io/kubernetes/pkg/scheduler/apis/config"
	schedulercache "k8s.io/kubernetes/pkg/scheduler/backend/cache"
	"k8s.io/kubernetes/pkg/scheduler/framework"
	"k8s.io/kubernetes/pkg/scheduler/framework/plugins/defaultpreemption"
	"k8s.io/kubernetes/pkg/scheduler/framework/plugins/feature"
	preempting "k8s.io/kubernetes/pkg/scheduler/framework/preemption"
)

type (
	nodeInfo   = fwk.NodeInfo
	cycleState = fwk.CycleState
	status     = fwk.Status
)

const unschedulable = fwk.Unschedulable

// board is what the plug-ins see of the nodes and the pods on them.
type board struct{ *schedulercache.Snapshot }

func newBoard() *board { return &board{schedulercache.NewEmptySnapshot()} }

func (b *board) options() []scheduler.Option {
	return []scheduler.Option{scheduler.WithNodeInfoSnapshot(b.Snapshot)}
}

func (b *board) attach(*scheduler.Scheduler) {}

func (b *board) fill(_ context.Context, pods []*corev1.Pod, nodes []*corev1.Node) error {
	*b.Snapshot = *schedulercache.NewSnapshot(pods, nodes)
	return nil
}

func newInformerFactory(client kubernetes.Interface) informers.SharedInformerFactory {
	return scheduler.NewInformerFactory(client, 0, nil)
}

func enqueue(ctx context.Context, made *scheduler.Scheduler, pod *corev1.Pod) {
	made.SchedulingQueue.Add(ctx, pod)
}

func dequeue(ctx context.Context, made *scheduler.Scheduler, pod *corev1.Pod) {
	made.SchedulingQueue.Delete(klog.FromContext(ctx), pod)
}

func preFilter(
	ctx context.Context, plugins framework.Framework, state cycleState, pod *corev1.Pod,
) (*fwk.PreFilterResult, *status, sets.Set[string]) {
	return plugins.RunPreFilterPlugins(ctx, state, pod)
}

// refusals says why each node was refused.
type refusals struct{ statuses *framework.NodeToStatus }

func newRefusals() *refusals { return &refusals{framework.NewDefaultNodeToStatus()} }

func (r *refusals) set(node string, why *status) { r.statuses.Set(node, why) }

func (r *refusals) get(node string) *status { return r.statuses.Get(node) }

// others are all the nodes that `set` does not name.
func (r *refusals) others(_ []nodeInfo, why *status) { r.statuses.SetAbsentNodesStatus(why) }

func (r *refusals) leftOut(rejecting sets.Set[string]) {
	text := fmt.Sprintf("node(s) didn't satisfy plugin(s) %v", sets.List(rejecting))
	r.statuses.SetAbsentNodesStatus(fwk.NewStatus(fwk.UnschedulableAndUnresolvable, text))
}

func (r *refusals) diagnosis() framework.Diagnosis {
	return framework.Diagnosis{NodeToStatus: r.statuses}
}

// preemption is the plug-in that makes room, asked step by step.
type preemption struct {
	plugin *defaultpreemption.DefaultPreemption
}

func newPreemption(ctx context.Context, args *config.DefaultPreemptionArgs, plugins framework.Framework) (*preemption, error) {
	features := feature.NewSchedulerFeaturesFromGates(utilfeature.DefaultFeatureGate)
	plugin, err := defaultpreemption.New(ctx, args, plugins, features)
	return &preemption{plugin}, err
}

func (p *preemption) eligible(ctx context.Context, pod *corev1.Pod, nominated *status) bool {
	yes, _ := p.plugin.PodEligibleToPreemptOthers(ctx, pod, nominated)
	return yes
}

func (p *preemption) candidates(
	ctx context.Context, state cycleState, pod *corev1.Pod, nodes []nodeInfo, budgets []*policyv1.PodDisruptionBudget,
) ([]preempting.Candidate, error) {
	found, _, err := p.plugin.Evaluator.DryRunPreemption(ctx, state, pod, nodes, budgets, 0, int32(len(nodes)))
	return found, err
}

func (p *preemption) selected(ctx context.Context, candidates []preempting.Candidate) string {
	return p.plugin.Evaluator.SelectCandidate(ctx, candidates).Name()
}
