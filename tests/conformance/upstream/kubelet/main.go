// Answers cases with the real kubelet's own functions: one JSON case a line in, one JSON answer a line out.
//
// Nothing runs: no runtime, no API server, no clock but the case's. What the kubelet keeps to itself is reached by
// go:linkname; the fields of the structures that these functions need are set by reflection, the others stay empty.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"sort"
	"time"
	"unsafe"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	"k8s.io/client-go/tools/record"
	"k8s.io/client-go/util/flowcontrol"
	"k8s.io/klog/v2"
	statsapi "k8s.io/kubelet/pkg/apis/stats/v1alpha1"
	v1qos "k8s.io/kubernetes/pkg/apis/core/v1/helper/qos"
	"k8s.io/kubernetes/pkg/kubelet"
	kubeletconfig "k8s.io/kubernetes/pkg/kubelet/apis/config"
	kubecontainer "k8s.io/kubernetes/pkg/kubelet/container"
	"k8s.io/kubernetes/pkg/kubelet/eviction"
	"k8s.io/kubernetes/pkg/kubelet/lifecycle"
	_ "k8s.io/kubernetes/pkg/kubelet/nodeshutdown"
	"k8s.io/kubernetes/pkg/kubelet/preemption"
	"k8s.io/kubernetes/pkg/kubelet/prober"
	"k8s.io/kubernetes/pkg/kubelet/prober/results"
	"k8s.io/kubernetes/pkg/kubelet/status"
	kubetypes "k8s.io/kubernetes/pkg/kubelet/types"
	schedulerframework "k8s.io/kubernetes/pkg/scheduler/framework"
	testingclock "k8s.io/utils/clock/testing"
)

//go:linkname getPhase k8s.io/kubernetes/pkg/kubelet.getPhase
func getPhase(logger klog.Logger, pod *v1.Pod, info []v1.ContainerStatus, podIsTerminal, podHasInitialized bool) v1.PodPhase

//go:linkname convertStatusToAPIStatus k8s.io/kubernetes/pkg/kubelet.(*Kubelet).convertStatusToAPIStatus
func convertStatusToAPIStatus(kl *kubelet.Kubelet, ctx context.Context, pod *v1.Pod, podStatus *kubecontainer.PodStatus, oldPodStatus v1.PodStatus) *v1.PodStatus

//go:linkname synchronize k8s.io/kubernetes/pkg/kubelet/eviction.(*managerImpl).synchronize
func synchronize(manager unsafe.Pointer, ctx context.Context, disks eviction.DiskInfoProvider, pods eviction.ActivePodsFunc) ([]*v1.Pod, error)

type podShutdownGroup struct {
	kubeletconfig.ShutdownGracePeriodByPodPriority
	Pods []*v1.Pod
}

//go:linkname groupByPriority k8s.io/kubernetes/pkg/kubelet/nodeshutdown.groupByPriority
func groupByPriority(periods []kubeletconfig.ShutdownGracePeriodByPodPriority, pods []*v1.Pod) []podShutdownGroup

//go:linkname migrateConfig k8s.io/kubernetes/pkg/kubelet/nodeshutdown.migrateConfig
func migrateConfig(requested, critical time.Duration) []kubeletconfig.ShutdownGracePeriodByPodPriority

// Case is one question; which fields it has depends on Kind.
type Case struct {
	Kind string `json:"kind"` // pod, eviction, shutdown, backoff or admission

	Pod        *v1.Pod              `json:"pod"`
	Containers []Container          `json:"containers"`
	Sandbox    bool                 `json:"sandbox"`
	Reasons    map[string][2]string `json:"reasons"`
	Started    map[string]bool      `json:"started"`
	Ready      map[string]bool      `json:"ready"`
	Terminal   bool                 `json:"terminal"`

	Hard       map[string]string `json:"hard"`
	Soft       map[string]string `json:"soft"`
	Graces     map[string]string `json:"graces"`
	Reclaim    map[string]string `json:"reclaim"`
	Transition float64           `json:"transition"`
	MaxGrace   int64             `json:"maxGrace"`
	ImageDisk  bool              `json:"imageDisk"`
	Pods       []*v1.Pod         `json:"pods"`
	Looks      []Look            `json:"looks"`
	Newcomers  []*v1.Pod         `json:"newcomers"`

	Runs []int64 `json:"runs"`

	Node *v1.Node `json:"node"`

	Requested  string                                           `json:"requested"`
	Critical   string                                           `json:"critical"`
	ByPriority []kubeletconfig.ShutdownGracePeriodByPodPriority `json:"byPriority"`
}

// Container is what the runtime says of one attempt.
type Container struct {
	Name     string `json:"name"`
	ID       string `json:"id"`
	Attempt  int    `json:"attempt"`
	State    string `json:"state"` // running or exited
	Exit     int    `json:"exit"`
	Reason   string `json:"reason"`
	Started  int64  `json:"started"`
	Finished int64  `json:"finished"`
	Active   bool   `json:"active"`
}

// Look is one round of the eviction manager: the time, the signals (available, capacity) and what pods use.
type Look struct {
	At      int64               `json:"at"`
	Signals map[string][2]int64 `json:"signals"`
	Usage   map[string]Usage    `json:"usage"`
}

// Usage of one pod.
type Usage struct {
	Memory     uint64                    `json:"memory"`
	Processes  uint64                    `json:"processes"`
	Ephemeral  uint64                    `json:"ephemeral"`
	Containers map[string]ContainerUsage `json:"containers"`
	Volumes    map[string][2]uint64      `json:"volumes"`
}

// ContainerUsage holds bytes and inodes of disks.
type ContainerUsage struct {
	Memory uint64    `json:"memory"`
	Layer  [2]uint64 `json:"layer"`
	Logs   [2]uint64 `json:"logs"`
}

func main() {
	// Only fills in the pod's own resources, for which it asks the container manager.
	if err := utilfeature.DefaultMutableFeatureGate.Set("InPlacePodLevelResourcesVerticalScaling=false"); err != nil {
		panic(err)
	}
	klog.LogToStderr(false)
	klog.SetOutput(discard{})
	in := bufio.NewReaderSize(os.Stdin, 1<<20)
	out := json.NewEncoder(os.Stdout)
	for {
		line, err := in.ReadBytes('\n')
		if len(line) == 0 && err != nil {
			return
		}
		var given Case
		if err := json.Unmarshal(line, &given); err != nil {
			panic(fmt.Sprintf("%v: %s", err, line))
		}
		if err := out.Encode(answer(&given)); err != nil {
			panic(err)
		}
	}
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

func answer(given *Case) any {
	switch given.Kind {
	case "pod":
		return podAnswer(given)
	case "eviction":
		return evictionAnswer(given)
	case "shutdown":
		return shutdownAnswer(given)
	case "backoff":
		return backoffAnswer(given)
	case "admission":
		return admissionAnswer(given)
	}
	panic("no such kind: " + given.Kind)
}

func podAnswer(given *Case) any {
	ctx, pod := context.Background(), given.Pod
	logger := klog.FromContext(ctx)
	seen := &kubecontainer.PodStatus{ID: pod.UID, Name: pod.Name, Namespace: pod.Namespace}
	for _, each := range given.Containers {
		state := kubecontainer.ContainerStateExited
		if each.State == "running" {
			state = kubecontainer.ContainerStateRunning
		}
		one := &kubecontainer.Status{
			ID: kubecontainer.ContainerID{Type: "test", ID: each.ID}, Name: each.Name, State: state,
			CreatedAt: time.Unix(each.Started, int64(each.Attempt)).UTC(), StartedAt: time.Unix(each.Started, 0).UTC(),
			ExitCode: each.Exit, Reason: each.Reason, RestartCount: each.Attempt, Image: "web:1", ImageRef: "web:1",
		}
		if state == kubecontainer.ContainerStateExited {
			one.FinishedAt = time.Unix(each.Finished, 0).UTC()
		}
		seen.ContainerStatuses = append(seen.ContainerStatuses, one)
		if each.Active {
			seen.ActiveContainerStatuses = append(seen.ActiveContainerStatuses, one)
		}
	}
	// As the runtime lists them: the latest first.
	sort.SliceStable(seen.ContainerStatuses, func(i, j int) bool {
		return seen.ContainerStatuses[i].CreatedAt.After(seen.ContainerStatuses[j].CreatedAt)
	})
	kl := &kubelet.Kubelet{}
	cache := kubelet.NewReasonCache()
	set(kl, "reasonCache", cache)
	for name, reason := range given.Reasons {
		result := kubecontainer.PodSyncResult{}
		start := kubecontainer.NewSyncResult(kubecontainer.StartContainer, name)
		start.Fail(errors.New(reason[0]), reason[1])
		result.AddSyncResult(start)
		cache.Update(pod.UID, result)
	}
	old := *pod.Status.DeepCopy()
	made := convertStatusToAPIStatus(kl, ctx, pod, seen, old)
	liveness, readiness, startup := results.NewManager(), results.NewManager(), results.NewManager()
	probes := prober.NewManager(nil, liveness, readiness, startup, nil, nil)
	record := func(manager results.Manager, given map[string]bool) {
		for id, good := range given {
			result := results.Failure
			if good {
				result = results.Success
			}
			manager.Set(kubecontainer.ContainerID{Type: "test", ID: id}, result, pod)
		}
	}
	record(startup, given.Started)
	record(readiness, given.Ready)
	// The kubelet asks the probes last; the phase that follows from what they say comes with its next look.
	probes.UpdatePodStatus(ctx, pod, made)
	all := append(append([]v1.ContainerStatus{}, made.ContainerStatuses...), made.InitContainerStatuses...)
	made.Phase = getPhase(logger, pod, all, given.Terminal, kubecontainer.HasAnyActiveRegularContainerStarted(&pod.Spec, seen))
	statuses := append(append([]v1.ContainerStatus{}, made.InitContainerStatuses...), made.ContainerStatuses...)
	made.Conditions = []v1.PodCondition{
		status.GeneratePodInitializedCondition(pod, &old, statuses, made.Phase),
		status.GeneratePodReadyCondition(pod, &old, old.Conditions, statuses, made.Phase),
		status.GenerateContainersReadyCondition(pod, &old, statuses, made.Phase),
	}
	restarts := map[string]bool{}
	for _, containers := range [][]v1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range containers {
			restarts[containers[i].Name] = kubecontainer.ShouldContainerBeRestarted(logger, &containers[i], pod, seen)
		}
	}
	return map[string]any{
		"phase": made.Phase, "conditions": made.Conditions, "containers": made.ContainerStatuses,
		"initContainers": made.InitContainerStatuses, "restarts": restarts,
		"restartAll": kubecontainer.ShouldAllContainersRestart(pod, seen, &old),
		"qos":        v1qos.ComputePodQOS(pod), "critical": kubetypes.IsCriticalPod(pod),
	}
}

// set gives a structure of another package a private field.
func set(target any, name string, value any) {
	field := reflect.ValueOf(target).Elem().FieldByName(name)
	reflect.NewAt(field.Type(), unsafe.Pointer(field.UnsafeAddr())).Elem().Set(reflect.ValueOf(value))
}

type machine struct {
	look      *Look
	pods      []*v1.Pod
	imageDisk bool
	events    []string
	evicted   []map[string]any
}

func (m *machine) HasDedicatedImageFs(context.Context) (bool, error)     { return m.imageDisk, nil }
func (m *machine) HasDedicatedContainerFs(context.Context) (bool, error) { return false, nil }
func (m *machine) DeleteUnusedImages(context.Context) error              { return nil }
func (m *machine) DeleteAllUnusedContainers(context.Context) error       { return nil }

func (m *machine) GetCPUAndMemoryStats(context.Context) (*statsapi.Summary, error) { return nil, nil }

func (m *machine) Get(context.Context, bool) (*statsapi.Summary, error) {
	now := metav1.NewTime(time.Unix(m.look.At, 0))
	summary := &statsapi.Summary{}
	signals := m.look.Signals
	if memory, found := signals["memory.available"]; found {
		available, used := uint64(memory[0]), uint64(memory[1]-memory[0])
		summary.Node.Memory = &statsapi.MemoryStats{Time: now, AvailableBytes: &available, WorkingSetBytes: &used}
	}
	fs := func(name string) *statsapi.FsStats {
		stats := &statsapi.FsStats{Time: now}
		if bytes, found := signals[name+".available"]; found {
			available, capacity := uint64(bytes[0]), uint64(bytes[1])
			stats.AvailableBytes, stats.CapacityBytes = &available, &capacity
		}
		if inodes, found := signals[name+".inodesFree"]; found {
			free, capacity := uint64(inodes[0]), uint64(inodes[1])
			stats.InodesFree, stats.Inodes = &free, &capacity
		}
		return stats
	}
	summary.Node.Fs = fs("nodefs")
	summary.Node.Runtime = &statsapi.RuntimeStats{ImageFs: fs("imagefs")}
	if pids, found := signals["pid.available"]; found {
		most, running := pids[1], pids[1]-pids[0]
		summary.Node.Rlimit = &statsapi.RlimitStats{Time: now, MaxPID: &most, NumOfRunningProcesses: &running}
	}
	for _, pod := range m.pods {
		used, found := m.look.Usage[string(pod.UID)]
		if !found {
			continue
		}
		one := statsapi.PodStats{
			PodRef:           statsapi.PodReference{Name: pod.Name, Namespace: pod.Namespace, UID: string(pod.UID)},
			Memory:           &statsapi.MemoryStats{WorkingSetBytes: &used.Memory},
			ProcessStats:     &statsapi.ProcessStats{ProcessCount: &used.Processes},
			EphemeralStorage: &statsapi.FsStats{UsedBytes: &used.Ephemeral},
		}
		for _, containers := range [][]v1.Container{pod.Spec.Containers, pod.Spec.InitContainers} {
			for _, container := range containers {
				if of, found := used.Containers[container.Name]; found {
					one.Containers = append(one.Containers, statsapi.ContainerStats{
						Name:   container.Name,
						Memory: &statsapi.MemoryStats{WorkingSetBytes: &of.Memory},
						Rootfs: &statsapi.FsStats{UsedBytes: &of.Layer[0], InodesUsed: &of.Layer[1]},
						Logs:   &statsapi.FsStats{UsedBytes: &of.Logs[0], InodesUsed: &of.Logs[1]},
					})
				}
			}
		}
		for _, volume := range pod.Spec.Volumes {
			if of, found := used.Volumes[volume.Name]; found {
				one.VolumeStats = append(one.VolumeStats, statsapi.VolumeStats{
					Name: volume.Name, FsStats: statsapi.FsStats{UsedBytes: &of[0], InodesUsed: &of[1]},
				})
			}
		}
		summary.Pods = append(summary.Pods, one)
	}
	return summary, nil
}

func (m *machine) kill(pod *v1.Pod, _ bool, grace *int64, change func(*v1.PodStatus)) error {
	made := v1.PodStatus{}
	change(&made)
	m.evicted = append(m.evicted, map[string]any{
		"uid": pod.UID, "grace": *grace, "reason": made.Reason, "message": made.Message, "disruption": len(made.Conditions) > 0,
	})
	left := []*v1.Pod{}
	for _, other := range m.pods {
		if other != pod {
			left = append(left, other)
		}
	}
	m.pods = left
	return nil
}

func (m *machine) Event(_ runtime.Object, _, reason, message string) {
	m.events = append(m.events, reason+" "+message)
}

func (m *machine) Eventf(_ runtime.Object, _, reason, format string, values ...any) {
	m.events = append(m.events, reason+" "+fmt.Sprintf(format, values...))
}

func (m *machine) AnnotatedEventf(_ runtime.Object, _ map[string]string, _, reason, format string, values ...any) {
	m.events = append(m.events, reason+" "+fmt.Sprintf(format, values...))
}

func (m *machine) WithLogger(klog.Logger) record.EventRecorderLogger { return m }

func evictionAnswer(given *Case) any {
	ctx := context.Background()
	thresholds, err := eviction.ParseThresholdConfig(nil, given.Hard, given.Soft, given.Graces, given.Reclaim)
	if err != nil {
		return map[string]any{"error": err.Error()}
	}
	sort.Slice(thresholds, func(i, j int) bool { return thresholds[i].Signal < thresholds[j].Signal })
	here := &machine{pods: given.Pods, imageDisk: given.ImageDisk}
	now := testingclock.NewFakeClock(time.Unix(0, 0))
	config := eviction.Config{
		PressureTransitionPeriod: time.Duration(given.Transition * float64(time.Second)),
		MaxPodGracePeriodSeconds: given.MaxGrace, Thresholds: thresholds,
	}
	manager, handler := eviction.NewManager(here, config, here.kill, here, here, here, &v1.ObjectReference{}, now, true)
	address := reflect.ValueOf(manager).UnsafePointer()
	answers := []any{}
	for i := range given.Looks {
		here.look = &given.Looks[i]
		now.SetTime(time.Unix(here.look.At, 0))
		here.events, here.evicted = []string{}, []map[string]any{}
		pods := func() []*v1.Pod { return append([]*v1.Pod{}, here.pods...) }
		if _, err := synchronize(address, ctx, here, pods); err != nil {
			panic(err)
		}
		conditions := []string{}
		if manager.IsUnderMemoryPressure() {
			conditions = append(conditions, "MemoryPressure")
		}
		if manager.IsUnderDiskPressure() {
			conditions = append(conditions, "DiskPressure")
		}
		if manager.IsUnderPIDPressure() {
			conditions = append(conditions, "PIDPressure")
		}
		admitted := map[types.UID]bool{}
		for _, pod := range given.Newcomers {
			admitted[pod.UID] = handler.Admit(ctx, &lifecycle.PodAdmitAttributes{Pod: pod}).Admit
		}
		answers = append(answers, map[string]any{
			"conditions": conditions, "evicted": here.evicted, "events": here.events, "admitted": admitted,
		})
	}
	return answers
}

// backoffAnswer says when each attempt of a container starts that runs for so many seconds and ends.
func backoffAnswer(given *Case) any {
	now := testingclock.NewFakeClock(time.Unix(0, 0))
	backOff := flowcontrol.NewFakeBackOff(10*time.Second, 300*time.Second, now)
	starts := []int64{}
	at := int64(0)
	for _, run := range given.Runs {
		starts = append(starts, at)
		ended := time.Unix(at+run, 0)
		for now.SetTime(ended); backOff.IsInBackOffSince("container", ended); {
			now.Step(time.Second)
		}
		backOff.Next("container", ended)
		at = now.Now().Unix()
	}
	return starts
}

// admissionAnswer has the newcomers come to the node one after the other; who is taken stays, who is preempted goes.
func admissionAnswer(given *Case) any {
	ctx := context.Background()
	pods := append([]*v1.Pod{}, given.Pods...)
	var gone []map[string]any
	kill := func(pod *v1.Pod, _ bool, _ *int64, change func(*v1.PodStatus)) error {
		made := v1.PodStatus{}
		change(&made)
		gone = append(gone, map[string]any{
			"uid": pod.UID, "reason": made.Reason, "message": made.Message, "disruption": made.Conditions[0].Message,
		})
		left := []*v1.Pod{}
		for _, other := range pods {
			if other.UID != pod.UID {
				left = append(left, other)
			}
		}
		pods = left
		return nil
	}
	active := func() []*v1.Pod { return append([]*v1.Pod{}, pods...) }
	handler := lifecycle.NewPredicateAdmitHandler(
		func(context.Context, bool) (*v1.Node, error) { return given.Node.DeepCopy(), nil },
		preemption.NewCriticalPodAdmissionHandler(active, kill, &machine{}),
		func(*schedulerframework.NodeInfo, *lifecycle.PodAdmitAttributes) error { return nil },
	)
	answers := []any{}
	for _, pod := range given.Newcomers {
		gone = []map[string]any{}
		result := handler.Admit(ctx, &lifecycle.PodAdmitAttributes{Pod: pod, OtherPods: active(), Operation: lifecycle.AddOperation})
		if result.Admit {
			pods = append(pods, pod)
		}
		answers = append(answers, map[string]any{"reason": result.Reason, "message": result.Message, "gone": gone})
	}
	return answers
}

func shutdownAnswer(given *Case) any {
	periods := given.ByPriority
	if len(periods) == 0 {
		requested, _ := time.ParseDuration(given.Requested)
		critical, _ := time.ParseDuration(given.Critical)
		periods = migrateConfig(requested, critical)
	}
	sort.Slice(periods, func(i, j int) bool { return periods[i].Priority < periods[j].Priority })
	groups := []any{}
	if len(periods) == 0 {
		return groups
	}
	for _, group := range groupByPriority(periods, given.Pods) {
		names := []string{}
		for _, pod := range group.Pods {
			names = append(names, string(pod.UID))
		}
		if len(names) > 0 {
			groups = append(groups, []any{group.Priority, group.ShutdownGracePeriodSeconds, names})
		}
	}
	return groups
}
