// Lets the real controllers of workloads create pods where only some are taken, in the virtual time of testing/synctest.
//
//	CASES=cases.jsonl ANSWERS=answers.jsonl go test ./slowstart
//
// A case is a workload and how many pods its namespace takes, at first and more from time to time. The whole controller
// runs on a fake API. The answer are its syncs in which pods were taken: how many of them, and how many were refused.
package slowstart

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"
	coreclient "k8s.io/client-go/kubernetes/typed/core/v1"
	core "k8s.io/client-go/testing"
	"k8s.io/client-go/util/flowcontrol"
	"k8s.io/klog/v2"
	"k8s.io/kubernetes/pkg/controller/daemon"
	"k8s.io/kubernetes/pkg/controller/job"
	"k8s.io/kubernetes/pkg/controller/replicaset"
	"k8s.io/kubernetes/pkg/controller/replication"
	"k8s.io/kubernetes/pkg/controller/statefulset"
)

const (
	space   = "default"
	heard   = time.Millisecond     // after a write everybody has heard of it before its writer goes on
	between = 3 * time.Millisecond // so far apart are attempts of two syncs
	phase   = 3000 * time.Second   // longer than any back-off
)

type asked struct {
	Kind string `json:"kind"`
	Size int32  `json:"size"`
	Room []int  `json:"room"` // how many pods are taken, and how many more after each phase
	Mode string `json:"mode"` // of a Job: its completionMode
}

type round struct {
	Taken   int `json:"taken"`
	Refused int `json:"refused"`
}

type world struct {
	sync.Mutex
	room, serial int
	rounds       []round
	last         time.Time
	ended        bool // the sync has written its status
}

// attempt says whether the namespace takes a pod.
func (w *world) attempt(made *v1.Pod) bool {
	w.Lock()
	defer w.Unlock()
	stopped := len(w.rounds) > 0 && w.rounds[len(w.rounds)-1].Refused > 0 && time.Now().After(w.last)
	if w.ended || stopped || len(w.rounds) == 0 || time.Since(w.last) > between {
		w.rounds = append(w.rounds, round{})
	}
	w.last, w.ended = time.Now(), false
	now := &w.rounds[len(w.rounds)-1]
	if w.room == 0 {
		now.Refused++
		return false
	}
	w.room--
	w.serial++
	now.Taken++
	if made.Name == "" {
		made.Name = fmt.Sprint(made.GenerateName, w.serial)
	}
	made.UID, made.ResourceVersion = types.UID(fmt.Sprint("pod-", w.serial)), fmt.Sprint(1000+w.serial)
	made.CreationTimestamp = metav1.NewTime(time.Now())
	made.Status.Phase = v1.PodPending
	return true
}

type api struct {
	kubernetes.Interface
	*world
}

type coreAPI struct {
	coreclient.CoreV1Interface
	*world
}

type podsAPI struct {
	coreclient.PodInterface
	*world
}

func (a api) CoreV1() coreclient.CoreV1Interface { return coreAPI{a.Interface.CoreV1(), a.world} }

func (c coreAPI) Pods(namespace string) coreclient.PodInterface {
	return podsAPI{c.CoreV1Interface.Pods(namespace), c.world}
}

func (p podsAPI) Create(ctx context.Context, made *v1.Pod, options metav1.CreateOptions) (*v1.Pod, error) {
	defer time.Sleep(heard)
	made = made.DeepCopy()
	if !p.attempt(made) {
		return nil, apierrors.NewForbidden(v1.Resource("pods"), made.Name, fmt.Errorf("exceeded quota: few"))
	}
	return p.PodInterface.Create(ctx, made, options)
}

func run(t *testing.T, told asked) []round {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	w := &world{}
	meta := metav1.ObjectMeta{Name: "one", Namespace: space, UID: "one", ResourceVersion: "1", Generation: 1}
	labels := map[string]string{"app": "web"}
	selector := &metav1.LabelSelector{MatchLabels: labels}
	template := v1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: labels},
		Spec:       v1.PodSpec{Containers: []v1.Container{{Name: "app", Image: "app:1"}}},
	}
	var there []runtime.Object
	switch told.Kind {
	case "ReplicaSet":
		there = append(there, &appsv1.ReplicaSet{ObjectMeta: meta, Spec: appsv1.ReplicaSetSpec{Replicas: &told.Size, Selector: selector, Template: template}})
	case "ReplicationController":
		there = append(there, &v1.ReplicationController{ObjectMeta: meta, Spec: v1.ReplicationControllerSpec{Replicas: &told.Size, Selector: labels, Template: &template}})
	case "StatefulSet":
		limit := int32(10)
		there = append(there, &appsv1.StatefulSet{ObjectMeta: meta, Spec: appsv1.StatefulSetSpec{
			Replicas: &told.Size, Selector: selector, Template: template, PodManagementPolicy: appsv1.ParallelPodManagement, RevisionHistoryLimit: &limit,
			UpdateStrategy: appsv1.StatefulSetUpdateStrategy{Type: appsv1.OnDeleteStatefulSetStrategyType},
		}})
	case "Job":
		template.Spec.RestartPolicy = v1.RestartPolicyNever
		mode, limit := batchv1.CompletionMode(told.Mode), int32(6)
		there = append(there, &batchv1.Job{ObjectMeta: meta, Spec: batchv1.JobSpec{
			Parallelism: &told.Size, Completions: &told.Size, Selector: selector, Template: template, CompletionMode: &mode, BackoffLimit: &limit,
		}})
	case "DaemonSet":
		limit := int32(10)
		there = append(there, &appsv1.DaemonSet{ObjectMeta: meta, Spec: appsv1.DaemonSetSpec{
			Selector: selector, Template: template, RevisionHistoryLimit: &limit,
			UpdateStrategy: appsv1.DaemonSetUpdateStrategy{Type: appsv1.OnDeleteDaemonSetStrategyType},
		}})
		for number := range told.Size {
			there = append(there, &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("n%02d", number)}})
		}
	default:
		t.Fatalf("what is %q?", told.Kind)
	}
	client := fake.NewClientset(there...)
	client.PrependReactor("*", "*", func(action core.Action) (bool, runtime.Object, error) {
		if action.GetSubresource() == "status" {
			w.Lock()
			w.ended = true
			w.Unlock()
		}
		return false, nil, nil
	})
	clientset := api{client, w}
	factory := informers.NewSharedInformerFactory(client, 0)
	apps, batch, all := factory.Apps().V1(), factory.Batch().V1(), factory.Core().V1()
	var start func(context.Context, int)
	var err error
	switch told.Kind {
	case "ReplicaSet":
		start = replicaset.NewReplicaSetController(ctx, apps.ReplicaSets(), all.Pods(), clientset, replicaset.BurstReplicas).Run
	case "ReplicationController":
		start = replication.NewReplicationManager(ctx, all.Pods(), all.ReplicationControllers(), clientset, replication.BurstReplicas).Run
	case "StatefulSet":
		start = statefulset.NewStatefulSetController(ctx, all.Pods(), apps.StatefulSets(), all.PersistentVolumeClaims(), apps.ControllerRevisions(), clientset).Run
	case "Job":
		var controller *job.Controller
		controller, err = job.NewController(ctx, clientset, all.Pods(), batch.Jobs(), nil, nil)
		start = controller.Run
	case "DaemonSet":
		var controller *daemon.DaemonSetsController
		controller, err = daemon.NewDaemonSetsController(ctx, apps.DaemonSets(), apps.ControllerRevisions(), all.Pods(), all.Nodes(), clientset, flowcontrol.NewBackOff(time.Second, 15*time.Minute))
		start = controller.Run
	}
	if err != nil {
		t.Fatal(err)
	}
	w.room = told.Room[0]
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	finished := make(chan struct{})
	go func() { start(ctx, 1); close(finished) }()
	time.Sleep(phase)
	for _, more := range told.Room[1:] {
		w.Lock()
		w.room += more
		w.Unlock()
		time.Sleep(phase)
	}
	cancel()
	<-finished
	factory.Shutdown()
	taken := []round{}
	for _, each := range w.rounds {
		if each.Taken > 0 {
			taken = append(taken, each)
		}
	}
	return taken
}

func TestCases(t *testing.T) {
	path := os.Getenv("CASES")
	if path == "" {
		t.Skip("CASES names no file")
	}
	flags := flag.NewFlagSet("", flag.PanicOnError)
	klog.InitFlags(flags)
	_ = flags.Set("logtostderr", "false")
	_ = flags.Set("stderrthreshold", "FATAL")
	klog.SetOutput(new(strings.Builder))
	utilruntime.ErrorHandlers = nil
	// Whether a controller's cache is behind is not asked of the fake API, which counts no versions.
	if err := utilfeature.DefaultMutableFeatureGate.SetFromMap(map[string]bool{
		"StaleControllerConsistencyReplicaSet":  false,
		"StaleControllerConsistencyDaemonSet":   false,
		"StaleControllerConsistencyJob":         false,
		"StaleControllerConsistencyStatefulSet": false,
	}); err != nil {
		t.Fatal(err)
	}
	in, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.Create(os.Getenv("ANSWERS"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		var told asked
		if err := json.Unmarshal(lines.Bytes(), &told); err != nil {
			t.Fatal(err)
		}
		var said []round
		synctest.Test(t, func(t *testing.T) { said = run(t, told) })
		answer, err := json.Marshal(said)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := out.Write(append(answer, '\n')); err != nil {
			t.Fatal(err)
		}
	}
}
