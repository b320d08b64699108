// Answers scheduling cases with the real kube-scheduler's plug-ins: one JSON case a line in, one JSON answer a line out.
//
// Nothing runs: no API server, no informers, no queue. The listers that the plug-ins read are filled with the case's
// objects, so that an answer depends on the case alone. With `-features` the gates that are on are printed instead.
// What the versions of the framework name differently is in framework*.go, one of which a build tag such as v1_32 selects.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"sort"
	"strings"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	clientscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/events"
	"k8s.io/klog/v2"
	"k8s.io/kubernetes/pkg/scheduler"
	"k8s.io/kubernetes/pkg/scheduler/apis/config"
	configscheme "k8s.io/kubernetes/pkg/scheduler/apis/config/scheme"
	"k8s.io/kubernetes/pkg/scheduler/framework"
	"k8s.io/kubernetes/pkg/scheduler/framework/plugins/names"
	"k8s.io/kubernetes/pkg/scheduler/profile"
)

// Case is one cluster and one pod to place. Config is a KubeSchedulerConfiguration (YAML or JSON) or empty.
type Case struct {
	ID      string            `json:"id"`
	Config  string            `json:"config,omitempty"`
	Pod     string            `json:"pod"` // namespace/name of one of the objects
	Objects []json.RawMessage `json:"objects"`
}

// Answer holds what the real plug-ins decide.
type Answer struct {
	ID string `json:"id"`
	// Error is set when a plug-in failed; upstream then retries the pod.
	Error    string   `json:"error,omitempty"`
	Feasible []string `json:"feasible"`
	Best     []string `json:"best,omitempty"`
	// Scores: node, then plug-in, weighted; Totals are their sums.
	Scores map[string]map[string]int64 `json:"scores,omitempty"`
	Totals map[string]int64            `json:"totals,omitempty"`
	// Reasons: node, then what its first refusing filter says.
	Reasons map[string][]string `json:"reasons,omitempty"`
	Plugins map[string]string   `json:"plugins,omitempty"`
	// Resolvable names the nodes that preemption is tried on.
	Resolvable []string `json:"resolvable,omitempty"`
	// Message without the part that preemption adds, and that part when nothing can be preempted.
	Message    string               `json:"message,omitempty"`
	Preemption string               `json:"preemption,omitempty"`
	Candidates map[string]Candidate `json:"candidates,omitempty"`
	// Nominated are the nodes that preemption can choose (it draws among equals).
	Nominated []string `json:"nominated,omitempty"`
}

// Candidate is a node that preemption could choose.
type Candidate struct {
	Victims    []string `json:"victims"`
	Violations int64    `json:"violations"`
}

type world struct {
	scheduler *scheduler.Scheduler
	factory   informers.SharedInformerFactory
	snapshot  *board
	preempt   map[string]*preemption
	nominated []*corev1.Pod
}

func newWorld(ctx context.Context, text string) (*world, error) {
	client := fake.NewSimpleClientset()
	w := &world{
		factory:  newInformerFactory(client),
		snapshot: newBoard(),
		preempt:  map[string]*preemption{},
	}
	options := append(w.snapshot.options(), scheduler.WithParallelism(1))
	if text != "" {
		decoded, _, err := configscheme.Codecs.UniversalDecoder().Decode([]byte(text), nil, nil)
		if err != nil {
			return nil, err
		}
		given := decoded.(*config.KubeSchedulerConfiguration)
		options = append(options,
			scheduler.WithProfiles(given.Profiles...),
			scheduler.WithPercentageOfNodesToScore(given.PercentageOfNodesToScore))
	}
	recorder := profile.NewRecorderFactory(events.NewBroadcaster(&events.EventSinkImpl{Interface: client.EventsV1()}))
	made, err := scheduler.New(ctx, client, w.factory, nil, recorder, options...)
	if err != nil {
		return nil, err
	}
	w.scheduler = made
	w.snapshot.attach(made)
	for name, one := range made.Profiles {
		args := &config.DefaultPreemptionArgs{MinCandidateNodesPercentage: 100, MinCandidateNodesAbsolute: 1000000}
		plugin, err := newPreemption(ctx, args, one)
		if err != nil {
			return nil, err
		}
		w.preempt[name] = plugin
	}
	return w, nil
}

// load makes the case's objects the whole world and returns the pod to place.
func (w *world) load(ctx context.Context, one Case) (*corev1.Pod, error) {
	for _, pod := range w.nominated {
		dequeue(ctx, w.scheduler, pod)
	}
	w.nominated = nil
	var wanted *corev1.Pod
	var nodes []*corev1.Node
	var placed []*corev1.Pod
	byKind := map[string][]interface{}{}
	for _, raw := range one.Objects {
		object, found, err := clientscheme.Codecs.UniversalDeserializer().Decode(raw, nil, nil)
		if err != nil {
			return nil, err
		}
		byKind[found.Kind] = append(byKind[found.Kind], object)
		switch typed := object.(type) {
		case *corev1.Node:
			nodes = append(nodes, typed)
		case *corev1.Pod:
			switch {
			case typed.Namespace+"/"+typed.Name == one.Pod:
				wanted = typed
			case typed.Spec.NodeName != "" && typed.Status.Phase != corev1.PodSucceeded && typed.Status.Phase != corev1.PodFailed:
				placed = append(placed, typed)
			}
			if typed.Status.NominatedNodeName != "" && typed.Spec.NodeName == "" {
				w.nominated = append(w.nominated, typed)
			}
		}
	}
	if wanted == nil {
		return nil, fmt.Errorf("no pod %q among the objects", one.Pod)
	}
	for kind, informer := range w.informers() {
		if err := informer.GetIndexer().Replace(byKind[kind], ""); err != nil {
			return nil, err
		}
	}
	there := map[string]bool{}
	for _, node := range nodes {
		there[node.Name] = true
	}
	placed = slices.DeleteFunc(placed, func(pod *corev1.Pod) bool { return !there[pod.Spec.NodeName] })
	if err := w.snapshot.fill(ctx, placed, nodes); err != nil {
		return nil, err
	}
	for _, pod := range w.nominated {
		enqueue(ctx, w.scheduler, pod)
	}
	return wanted, nil
}

func (w *world) informers() map[string]cache.SharedIndexInformer {
	core, storage, apps := w.factory.Core().V1(), w.factory.Storage().V1(), w.factory.Apps().V1()
	return map[string]cache.SharedIndexInformer{
		"Pod":                   core.Pods().Informer(),
		"Node":                  core.Nodes().Informer(),
		"Namespace":             core.Namespaces().Informer(),
		"Service":               core.Services().Informer(),
		"ReplicationController": core.ReplicationControllers().Informer(),
		"PersistentVolume":      core.PersistentVolumes().Informer(),
		"PersistentVolumeClaim": core.PersistentVolumeClaims().Informer(),
		"ReplicaSet":            apps.ReplicaSets().Informer(),
		"StatefulSet":           apps.StatefulSets().Informer(),
		"StorageClass":          storage.StorageClasses().Informer(),
		"CSINode":               storage.CSINodes().Informer(),
		"CSIDriver":             storage.CSIDrivers().Informer(),
		"CSIStorageCapacity":    storage.CSIStorageCapacities().Informer(),
		"VolumeAttachment":      storage.VolumeAttachments().Informer(),
		"PodDisruptionBudget":   w.factory.Policy().V1().PodDisruptionBudgets().Informer(),
	}
}

func (w *world) answer(ctx context.Context, one Case) (answer Answer) {
	answer = Answer{ID: one.ID, Feasible: []string{}}
	pod, err := w.load(ctx, one)
	if err != nil {
		answer.Error = "case: " + err.Error()
		return answer
	}
	plugins, ok := w.scheduler.Profiles[pod.Spec.SchedulerName]
	if !ok {
		answer.Error = "case: no profile " + pod.Spec.SchedulerName
		return answer
	}
	state := framework.NewCycleState()
	nodes, _ := w.snapshot.NodeInfos().List()
	if len(nodes) == 0 {
		answer.Message = scheduler.ErrNoNodesAvailable.Error()
		return answer
	}
	refused := newRefusals()
	chosen, status, rejecting := preFilter(ctx, plugins, state, pod)
	var feasible []nodeInfo
	prefilter := ""
	switch {
	case status.IsRejected():
		refused.others(nodes, status)
		prefilter = status.Message()
	case !status.IsSuccess():
		answer.Error = status.Message()
		return answer
	default:
		if !chosen.AllNodes() {
			refused.leftOut(rejecting)
		}
		if nominated := pod.Status.NominatedNodeName; nominated != "" {
			if info, err := w.snapshot.NodeInfos().Get(nominated); err == nil {
				status := plugins.RunFilterPluginsWithNominatedPods(ctx, state, pod, info)
				if status.IsSuccess() {
					answer.Feasible = []string{nominated}
					answer.Best = answer.Feasible
					return answer
				}
			}
		}
		for _, info := range nodes {
			if !chosen.AllNodes() && !chosen.NodeNames.Has(info.Node().Name) {
				continue
			}
			status := plugins.RunFilterPluginsWithNominatedPods(ctx, state, pod, info)
			switch {
			case status.IsSuccess():
				feasible = append(feasible, info)
			case status.IsRejected():
				refused.set(info.Node().Name, status)
			default:
				answer.Error = status.Message()
				return answer
			}
		}
	}
	answer.Reasons, answer.Plugins = map[string][]string{}, map[string]string{}
	passing := map[string]bool{}
	for _, info := range feasible {
		answer.Feasible = append(answer.Feasible, info.Node().Name)
		passing[info.Node().Name] = true
	}
	sort.Strings(answer.Feasible)
	for _, info := range nodes {
		name := info.Node().Name
		if !passing[name] {
			status := refused.get(name)
			if status == nil { // nothing is said in 1.30 of a node that a PreFilter left out
				continue
			}
			answer.Reasons[name], answer.Plugins[name] = status.Reasons(), status.Plugin()
			if status.Code() == unschedulable {
				answer.Resolvable = append(answer.Resolvable, name)
			}
		}
	}
	sort.Strings(answer.Resolvable)
	if len(feasible) > 0 {
		w.score(ctx, &answer, plugins, state, pod, feasible)
		return answer
	}
	diagnosis := refused.diagnosis()
	diagnosis.PreFilterMsg = prefilter
	answer.Message = (&framework.FitError{Pod: pod, NumAllNodes: len(nodes), Diagnosis: diagnosis}).Error()
	w.makeRoom(ctx, &answer, plugins, state, pod, refused)
	return answer
}

func (w *world) score(
	ctx context.Context, answer *Answer, plugins framework.Framework, state cycleState, pod *corev1.Pod, feasible []nodeInfo,
) {
	if len(feasible) == 1 {
		answer.Best = answer.Feasible
		return
	}
	if status := plugins.RunPreScorePlugins(ctx, state, pod, feasible); !status.IsSuccess() {
		answer.Error = status.Message()
		return
	}
	scores, status := plugins.RunScorePlugins(ctx, state, pod, feasible)
	if !status.IsSuccess() {
		answer.Error = status.Message()
		return
	}
	answer.Scores, answer.Totals = map[string]map[string]int64{}, map[string]int64{}
	most := scores[0].TotalScore
	for _, node := range scores {
		most = max(most, node.TotalScore)
		answer.Totals[node.Name] = node.TotalScore
		answer.Scores[node.Name] = map[string]int64{}
		for _, score := range node.Scores {
			answer.Scores[node.Name][score.Name] = score.Score
		}
	}
	for _, node := range scores {
		if node.TotalScore == most {
			answer.Best = append(answer.Best, node.Name)
		}
	}
	sort.Strings(answer.Best)
}

func (w *world) makeRoom(
	ctx context.Context, answer *Answer, plugins framework.Framework, state cycleState, pod *corev1.Pod, refused *refusals,
) {
	if !plugins.HasPostFilterPlugins() {
		return
	}
	plugin := w.preempt[pod.Spec.SchedulerName]
	eligible := plugin.eligible(ctx, pod, refused.get(pod.Status.NominatedNodeName))
	nodes, _ := w.snapshot.NodeInfos().List()
	var potential []nodeInfo
	for _, info := range nodes {
		if status := refused.get(info.Node().Name); status != nil && status.Code() == unschedulable {
			potential = append(potential, info)
		}
	}
	preempts := slices.ContainsFunc(plugins.ListPlugins().PostFilter.Enabled, func(one config.Plugin) bool {
		return one.Name == names.DefaultPreemption
	})
	if preempts && eligible && len(potential) > 0 {
		budgets, err := w.budgets()
		if err != nil {
			answer.Error = err.Error()
			return
		}
		candidates, err := plugin.candidates(ctx, state, pod, potential, budgets)
		if err != nil && len(candidates) == 0 {
			answer.Error = err.Error()
			return
		}
		if len(candidates) > 0 {
			answer.Candidates = map[string]Candidate{}
			for _, candidate := range candidates {
				found := Candidate{Victims: []string{}, Violations: candidate.Victims().NumPDBViolations}
				for _, victim := range candidate.Victims().Pods {
					found.Victims = append(found.Victims, victim.Namespace+"/"+victim.Name)
				}
				answer.Candidates[candidate.Name()] = found
			}
			chosen := map[string]bool{}
			for range 40 { // the choice among equals follows Go's random order of maps
				chosen[plugin.selected(ctx, candidates)] = true
			}
			answer.Nominated = slices.Sorted(maps.Keys(chosen))
			return
		}
	}
	_, status := plugins.RunPostFilterPlugins(ctx, state, pod, refused.statuses)
	answer.Preemption = status.Message()
}

func (w *world) budgets() ([]*policyv1.PodDisruptionBudget, error) {
	var found []*policyv1.PodDisruptionBudget
	for _, object := range w.factory.Policy().V1().PodDisruptionBudgets().Informer().GetIndexer().List() {
		found = append(found, object.(*policyv1.PodDisruptionBudget))
	}
	sort.Slice(found, func(i, j int) bool {
		return found[i].Namespace+"/"+found[i].Name < found[j].Namespace+"/"+found[j].Name
	})
	return found, nil
}

func main() {
	list := flag.Bool("features", false, "print the feature gates that are on")
	flag.Parse()
	klog.SetLogger(logr.Discard())
	if *list {
		var on []string
		for name := range utilfeature.DefaultMutableFeatureGate.GetAll() {
			if utilfeature.DefaultFeatureGate.Enabled(name) {
				on = append(on, string(name))
			}
		}
		sort.Strings(on)
		fmt.Println(strings.Join(on, "\n"))
		return
	}
	ctx := context.Background()
	worlds := map[string]*world{}
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(make([]byte, 1<<20), 1<<28)
	out := bufio.NewWriter(os.Stdout)
	for lines.Scan() {
		var one Case
		answer := Answer{}
		if err := json.Unmarshal(lines.Bytes(), &one); err != nil {
			answer.Error = "case: " + err.Error()
		} else {
			answer = respond(ctx, worlds, one)
		}
		text, err := json.Marshal(answer)
		if err != nil {
			panic(err)
		}
		out.Write(append(text, '\n'))
		out.Flush()
	}
	if err := lines.Err(); err != nil {
		panic(err)
	}
}

func respond(ctx context.Context, worlds map[string]*world, one Case) (answer Answer) {
	defer func() {
		if cause := recover(); cause != nil {
			answer = Answer{ID: one.ID, Error: fmt.Sprintf("panic: %v", cause)}
		}
	}()
	found := worlds[one.Config]
	if found == nil {
		made, err := newWorld(ctx, one.Config)
		if err != nil {
			return Answer{ID: one.ID, Error: "config: " + err.Error()}
		}
		found = made
		worlds[one.Config] = made
	}
	return found.answer(ctx, one)
}
