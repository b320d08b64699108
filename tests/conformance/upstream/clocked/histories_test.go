// Plays histories against controllers that act by the clock, in the virtual time of testing/synctest.
//
//	HISTORIES=cases.jsonl ANSWERS=answers.jsonl go test ./clocked
//
// One history a line: which controllers run, when it begins, and commands with the seconds at which they are given: objects
// made, changed and deleted. The whole controllers run on a fake API that deletes as the real one does. What is written
// is how objects look, each time that one looks differently, and events, each with its second.
package clocked

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"slices"
	"sort"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	batchv1 "k8s.io/api/batch/v1"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	core "k8s.io/client-go/testing"
	"k8s.io/klog/v2"
	"k8s.io/kubernetes/pkg/controller/podgc"
	"k8s.io/kubernetes/pkg/controller/ttlafterfinished"
)

type command struct {
	At   float64         `json:"at"`
	Do   string          `json:"do"`
	Kind string          `json:"kind"`
	Name string          `json:"name"`
	Body json.RawMessage `json:"body"`
}

type history struct {
	Run      []string  `json:"run"`
	Begin    int64     `json:"begin"`
	Commands []command `json:"commands"`
	Until    float64   `json:"until"`
}

// A line of an answer: the second, about what, and how it looks.
type line struct {
	At    float64 `json:"at"`
	About string  `json:"about"`
	Is    string  `json:"is"`
}

type kind struct {
	resource  schema.GroupVersionResource
	namespace string
	empty     func() runtime.Object
}

var kinds = map[string]kind{
	"Pod":  {v1.SchemeGroupVersion.WithResource("pods"), "default", func() runtime.Object { return &v1.Pod{} }},
	"Node": {v1.SchemeGroupVersion.WithResource("nodes"), "", func() runtime.Object { return &v1.Node{} }},
	"Job":  {batchv1.SchemeGroupVersion.WithResource("jobs"), "default", func() runtime.Object { return &batchv1.Job{} }},
}

type world struct {
	sync.Mutex
	t      *testing.T
	ctx    context.Context
	client *fake.Clientset
	begin  time.Time
	lines  []line
	looks  map[string]string
	events map[string]string
	serial int
}

func (w *world) tell(about, is string) {
	w.Lock()
	defer w.Unlock()
	if before, known := w.looks[about]; known && before == is {
		return
	}
	w.looks[about] = is
	w.lines = append(w.lines, line{float64(time.Since(w.begin).Milliseconds()) / 1000, about, is})
}

func accessor(one runtime.Object) metav1.Object {
	found, err := meta.Accessor(one)
	if err != nil {
		panic(err)
	}
	return found
}

func look(one runtime.Object) string {
	said := []string{}
	if at := accessor(one).GetDeletionTimestamp(); at != nil {
		said = append(said, "going")
	}
	if pod, isPod := one.(*v1.Pod); isPod {
		said = append(said, string(pod.Status.Phase))
		for _, each := range pod.Status.Conditions {
			said = append(said, fmt.Sprintf("%s=%s %s", each.Type, each.Status, each.Reason))
		}
	}
	sort.Strings(said)
	return strings.Join(said, ", ")
}

// follow writes down how the objects of a kind look.
func (w *world) follow(name string, of kind) {
	changes, err := w.client.Tracker().Watch(of.resource, of.namespace)
	if err != nil {
		w.t.Fatal(err)
	}
	go func() {
		for {
			select {
			case <-w.ctx.Done():
				changes.Stop()
				return
			case change := <-changes.ResultChan():
				about := name + "/" + accessor(change.Object).GetName()
				if change.Type == "DELETED" {
					w.tell(about, "gone")
				} else {
					w.tell(about, look(change.Object))
				}
			}
		}
	}()
}

// leave does what an API server does with a deletion: finalizers and, of pods on nodes, grace hold the object.
func (w *world) leave(of kind, name string, options metav1.DeleteOptions) error {
	one, err := w.client.Tracker().Get(of.resource, of.namespace, name)
	if err != nil {
		return err
	}
	one = one.DeepCopyObject()
	about := accessor(one)
	foreground := options.PropagationPolicy != nil && *options.PropagationPolicy == metav1.DeletePropagationForeground
	finalizers := slices.DeleteFunc(slices.Clone(about.GetFinalizers()), func(each string) bool { return each == metav1.FinalizerDeleteDependents })
	if foreground {
		finalizers = append(finalizers, metav1.FinalizerDeleteDependents)
	}
	about.SetFinalizers(finalizers)
	graceful := false
	if pod, isPod := one.(*v1.Pod); isPod && pod.Spec.NodeName != "" && pod.Status.Phase != v1.PodSucceeded && pod.Status.Phase != v1.PodFailed {
		graceful = options.GracePeriodSeconds == nil || *options.GracePeriodSeconds > 0
	}
	if !graceful && len(about.GetFinalizers()) == 0 {
		return w.client.Tracker().Delete(of.resource, of.namespace, name)
	}
	if about.GetDeletionTimestamp() == nil {
		now := metav1.NewTime(time.Now().Truncate(time.Second))
		about.SetDeletionTimestamp(&now)
	}
	if pod, isPod := one.(*v1.Pod); isPod {
		grace := int64(0)
		if graceful {
			grace = 30
		}
		pod.DeletionGracePeriodSeconds = &grace
	}
	w.number(about)
	return w.client.Tracker().Update(of.resource, one, of.namespace)
}

func (w *world) number(one metav1.Object) {
	w.Lock()
	defer w.Unlock()
	w.serial++
	one.SetResourceVersion(fmt.Sprint(w.serial))
}

func (w *world) react() {
	w.client.PrependReactor("delete", "*", func(action core.Action) (bool, runtime.Object, error) {
		asked := action.(core.DeleteActionImpl)
		for _, of := range kinds {
			if of.resource.Resource == asked.Resource.Resource {
				return true, nil, w.leave(of, asked.Name, asked.DeleteOptions)
			}
		}
		return false, nil, nil
	})
	w.client.PrependReactor("create", "events", func(action core.Action) (bool, runtime.Object, error) {
		event := action.(core.CreateAction).GetObject().(*v1.Event)
		w.event(event)
		return true, event, nil
	})
	w.client.PrependReactor("patch", "events", func(action core.Action) (bool, runtime.Object, error) {
		asked := action.(core.PatchAction)
		return true, &v1.Event{}, w.again(asked.GetName(), asked.GetPatch())
	})
}

func (w *world) event(event *v1.Event) {
	w.Lock()
	w.serial++
	event.Name = fmt.Sprint(w.serial) // virtual time would name two events of an instant alike
	about := fmt.Sprintf("event %s/%s %s %s %s", event.InvolvedObject.Kind, event.InvolvedObject.Name, event.Type, event.Reason, event.Message)
	w.events[event.Name] = about
	w.Unlock()
	w.tell(about, fmt.Sprint(event.Count))
}

func (w *world) again(name string, patch []byte) error {
	var event v1.Event
	if err := json.Unmarshal(patch, &event); err != nil {
		return err
	}
	w.Lock()
	about := w.events[name]
	w.Unlock()
	if about == "" {
		return apierrors.NewNotFound(v1.Resource("events"), name)
	}
	w.tell(about, fmt.Sprint(event.Count))
	return nil
}

func (w *world) start(told history) func() {
	running, cancel := context.WithCancel(w.ctx)
	factory := informers.NewSharedInformerFactory(w.client, 0)
	all := factory.Core().V1()
	var runs []func(context.Context)
	for _, name := range told.Run {
		switch name {
		case "podgc":
			// Upstream's next look but one is a little more than 40 seconds away, the time of the looks themselves.
			quarantine := 40*time.Second - time.Millisecond
			runs = append(runs, podgc.NewPodGCInternal(running, w.client, all.Pods(), all.Nodes(), 12500, 20*time.Second, quarantine).Run)
		case "ttl":
			controller := ttlafterfinished.New(running, factory.Batch().V1().Jobs(), w.client)
			runs = append(runs, func(ctx context.Context) { controller.Run(ctx, 1) })
		}
	}
	factory.Start(running.Done())
	factory.WaitForCacheSync(running.Done())
	synctest.Wait()
	var ended sync.WaitGroup
	for _, each := range runs {
		ended.Add(1)
		go func() {
			defer ended.Done()
			each(running)
		}()
	}
	return func() { cancel(); ended.Wait(); factory.Shutdown() }
}

func (w *world) do(asked command) {
	of := kinds[asked.Kind]
	there, err := w.client.Tracker().Get(of.resource, of.namespace, asked.Name)
	known := err == nil
	must := func(err error) {
		if err != nil {
			w.t.Errorf("%s %s/%s: %v", asked.Do, asked.Kind, asked.Name, err)
		}
	}
	now := time.Now().UTC()
	body := []byte(strings.ReplaceAll(string(asked.Body), "$NOW", now.Format(time.RFC3339)))
	decode := func(raw []byte) runtime.Object {
		one := of.empty()
		must(json.Unmarshal(raw, one))
		return one
	}
	if asked.Do == "finish" && known {
		if len(there.(*batchv1.Job).Status.Conditions) > 0 {
			return
		}
		asked.Do = "patch"
	}
	switch asked.Do {
	case "create":
		if !known {
			one := decode(body)
			about := accessor(one)
			about.SetName(asked.Name)
			about.SetNamespace(of.namespace)
			about.SetUID(types.UID(fmt.Sprint("uid-", time.Now().UnixNano(), asked.Name)))
			about.SetCreationTimestamp(metav1.NewTime(time.Now().Truncate(time.Second)))
			w.number(about)
			must(w.client.Tracker().Create(of.resource, one, of.namespace))
		}
	case "patch":
		if known {
			before, err := json.Marshal(there)
			must(err)
			after, err := jsonpatch.MergePatch(before, body)
			must(err)
			one := decode(after)
			w.number(accessor(one))
			about := accessor(one)
			held := about.GetDeletionGracePeriodSeconds() != nil && *about.GetDeletionGracePeriodSeconds() > 0
			if about.GetDeletionTimestamp() != nil && len(about.GetFinalizers()) == 0 && !held {
				must(w.client.Tracker().Delete(of.resource, of.namespace, asked.Name))
			} else {
				must(w.client.Tracker().Update(of.resource, one, of.namespace))
			}
		}
	case "finish": // a Job that is not there
	case "delete":
		if known {
			must(w.leave(of, asked.Name, metav1.DeleteOptions{}))
		}
	default:
		w.t.Errorf("what is %q?", asked.Do)
	}
}

func run(t *testing.T, told history) []line {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	time.Sleep(time.Until(time.Unix(told.Begin, 0)))
	w := &world{t: t, ctx: ctx, client: fake.NewClientset(), begin: time.Now(), lines: []line{}, looks: map[string]string{}, events: map[string]string{}}
	w.react()
	for name, of := range kinds {
		w.follow(name, of)
	}
	stop := w.start(told)
	until := func(second float64) {
		time.Sleep(time.Until(w.begin.Add(time.Duration(second * float64(time.Second)))))
		synctest.Wait()
	}
	for _, each := range told.Commands {
		until(each.At)
		w.do(each)
	}
	until(told.Until)
	stop()
	return w.lines
}

func TestHistories(t *testing.T) {
	path := os.Getenv("HISTORIES")
	if path == "" {
		t.Skip("HISTORIES names no file")
	}
	flags := flag.NewFlagSet("", flag.PanicOnError)
	klog.InitFlags(flags)
	_ = flags.Set("logtostderr", "false")
	_ = flags.Set("stderrthreshold", "FATAL")
	klog.SetOutput(new(strings.Builder))
	utilruntime.ErrorHandlers = nil
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
	lines.Buffer(nil, 1<<26)
	for lines.Scan() {
		var told history
		if err := json.Unmarshal(lines.Bytes(), &told); err != nil {
			t.Fatal(err)
		}
		var said []line
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
