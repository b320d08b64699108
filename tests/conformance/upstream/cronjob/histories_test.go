// Plays histories of CronJobs against the real CronJob controller, in the virtual time of testing/synctest.
//
//	HISTORIES=cases.jsonl ANSWERS=answers.jsonl go test ./cronjob
//
// One history a line: when it begins, and commands with the seconds at which they are given. The whole controller runs
// (informers, work queue, events) on a fake API; garbage collection and the Job controller are commands. What is
// written is what was asked of the API: Jobs made and deleted, statuses, events, each with its second.
package cronjob

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"sort"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	batchv1 "k8s.io/api/batch/v1"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"
	batchclient "k8s.io/client-go/kubernetes/typed/batch/v1"
	core "k8s.io/client-go/testing"
	"k8s.io/klog/v2"
	"k8s.io/kubernetes/pkg/controller/cronjob"
)

const (
	space = "default"
	heard = time.Millisecond // after a write everybody has heard of it before its writer goes on
)

type command struct {
	At     float64          `json:"at"`
	Do     string           `json:"do"`
	Name   string           `json:"name"`
	Object *batchv1.CronJob `json:"object"`
	Spec   json.RawMessage  `json:"spec"`
	Pick   int              `json:"pick"`
	Ahead  int64            `json:"ahead"`
	Owned  bool             `json:"owned"`
	End    string           `json:"end"`
}

type history struct {
	Begin    int64     `json:"begin"`
	Commands []command `json:"commands"`
	Until    float64   `json:"until"`
}

// A line of an answer: the second, what was done, and to what.
type line struct {
	At   float64 `json:"at"`
	Did  string  `json:"did"`
	What any     `json:"what"`
}

type status struct {
	Name       string   `json:"name"`
	Active     []string `json:"active"`
	Scheduled  string   `json:"scheduled"`
	Successful string   `json:"successful"`
}

type job struct {
	Name        string            `json:"name"`
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	Image       string            `json:"image"`
}

type world struct {
	sync.Mutex
	t      *testing.T
	ctx    context.Context
	client *fake.Clientset
	begin  time.Time
	lines  []line
	uids   int
	events int
	texts  map[string]string
	full   bool // the quota of Jobs is used up
	stop   func()
}

func (w *world) tell(did string, what any) {
	w.Lock()
	defer w.Unlock()
	w.lines = append(w.lines, line{float64(time.Since(w.begin).Milliseconds()) / 1000, did, what})
}

func (w *world) identify(made metav1.Object) {
	w.Lock()
	defer w.Unlock()
	w.uids++
	made.SetNamespace(space)
	made.SetUID(types.UID(fmt.Sprint("uid-", w.uids)))
	made.SetCreationTimestamp(metav1.NewTime(time.Now().Truncate(time.Second)))
	made.SetResourceVersion(fmt.Sprint(w.uids))
}

// changed gives an object another resourceVersion, without which the controller takes it for a repetition.
func (w *world) changed(one metav1.Object) {
	w.Lock()
	defer w.Unlock()
	w.uids++
	one.SetResourceVersion(fmt.Sprint(w.uids))
}

func wire(at *metav1.Time) string {
	if at == nil {
		return ""
	}
	return at.UTC().Format(time.RFC3339)
}

// The API as the controller has it: what it writes is noted, and heard of before it goes on.
type api struct {
	kubernetes.Interface
	*world
}

type batchAPI struct {
	batchclient.BatchV1Interface
	*world
}

type jobsAPI struct {
	batchclient.JobInterface
	*world
}

type cronJobsAPI struct {
	batchclient.CronJobInterface
	*world
}

func (a api) BatchV1() batchclient.BatchV1Interface { return batchAPI{a.Interface.BatchV1(), a.world} }

func (b batchAPI) Jobs(namespace string) batchclient.JobInterface {
	return jobsAPI{b.BatchV1Interface.Jobs(namespace), b.world}
}

func (b batchAPI) CronJobs(namespace string) batchclient.CronJobInterface {
	return cronJobsAPI{b.BatchV1Interface.CronJobs(namespace), b.world}
}

func (j jobsAPI) Create(ctx context.Context, made *batchv1.Job, options metav1.CreateOptions) (*batchv1.Job, error) {
	if j.full {
		return nil, apierrors.NewForbidden(batchv1.Resource("jobs"), made.Name, fmt.Errorf("exceeded quota: none, requested: count/jobs.batch=1, used: count/jobs.batch=0, limited: count/jobs.batch=0"))
	}
	made = made.DeepCopy()
	j.identify(made)
	created, err := j.JobInterface.Create(ctx, made, options)
	if err == nil {
		j.tell("create", job{made.Name, made.Labels, made.Annotations, made.Spec.Template.Spec.Containers[0].Image})
	}
	time.Sleep(heard)
	return created, err
}

func (j jobsAPI) Delete(ctx context.Context, name string, options metav1.DeleteOptions) error {
	err := j.JobInterface.Delete(ctx, name, options)
	if err == nil {
		j.tell("delete", name)
	}
	time.Sleep(heard)
	return err
}

func (c cronJobsAPI) UpdateStatus(ctx context.Context, now *batchv1.CronJob, options metav1.UpdateOptions) (*batchv1.CronJob, error) {
	updated, err := c.CronJobInterface.UpdateStatus(ctx, now, options)
	if err == nil {
		told := status{now.Name, []string{}, wire(now.Status.LastScheduleTime), wire(now.Status.LastSuccessfulTime)}
		for _, ref := range now.Status.Active {
			told.Active = append(told.Active, ref.Name)
		}
		c.tell("status", told)
	}
	time.Sleep(heard)
	return updated, err
}

// keepEvents does with events what an API server does, and writes them down.
func (w *world) keepEvents() {
	w.client.PrependReactor("create", "events", func(action core.Action) (bool, runtime.Object, error) {
		event := action.(core.CreateAction).GetObject().(*v1.Event)
		w.events++
		event.Name = fmt.Sprint(w.events) // virtual time would name two events of an instant alike
		w.texts[event.Name] = strings.Join([]string{event.InvolvedObject.Name, event.Type, event.Reason, ""}, " ")
		w.texts[event.Name+"/message"] = event.Message
		w.tell("event", fmt.Sprintf("%s%s x%d", w.texts[event.Name], event.Message, event.Count))
		return true, event, nil
	})
	w.client.PrependReactor("patch", "events", func(action core.Action) (bool, runtime.Object, error) {
		var event v1.Event
		if err := json.Unmarshal(action.(core.PatchAction).GetPatch(), &event); err != nil {
			w.t.Error(err)
		}
		name := action.(core.PatchAction).GetName()
		if w.texts[name] == "" {
			return true, nil, apierrors.NewNotFound(v1.Resource("events"), name)
		}
		if event.Message != "" {
			w.texts[name+"/message"] = event.Message
		}
		w.tell("event", fmt.Sprintf("%s%s x%d", w.texts[name], w.texts[name+"/message"], event.Count))
		return true, &event, nil
	})
}

func (w *world) start() {
	running, cancel := context.WithCancel(w.ctx)
	factory := informers.NewSharedInformerFactory(w.client, 0)
	batch := factory.Batch().V1()
	controller, err := cronjob.NewControllerV2(running, batch.Jobs(), batch.CronJobs(), api{w.client, w})
	if err != nil {
		w.t.Fatal(err)
	}
	factory.Start(running.Done())
	factory.WaitForCacheSync(running.Done())
	synctest.Wait() // whatever there is asks for one look together
	finished := make(chan struct{})
	go func() { controller.Run(running, 1); close(finished) }()
	w.stop = func() {
		cancel()
		<-finished
		factory.Shutdown()
	}
}

// jobs are those that a command may be about, by name.
func (w *world) jobs(wanted func(batchv1.Job) bool) []batchv1.Job {
	list, err := w.client.BatchV1().Jobs(space).List(w.ctx, metav1.ListOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	var found []batchv1.Job
	for _, one := range list.Items {
		if wanted(one) {
			found = append(found, one)
		}
	}
	sort.Slice(found, func(i, j int) bool { return found[i].Name < found[j].Name })
	return found
}

func (w *world) do(asked command) {
	cronJobs, jobs := w.client.BatchV1().CronJobs(space), w.client.BatchV1().Jobs(space)
	there, _ := cronJobs.Get(w.ctx, asked.Name, metav1.GetOptions{})
	known := there != nil && there.Name != ""
	now := metav1.NewTime(time.Now().Truncate(time.Second))
	must := func(err error) {
		if err != nil {
			w.t.Errorf("%s: %v", asked.Do, err)
		}
	}
	pick := func(wanted func(batchv1.Job) bool) *batchv1.Job {
		if found := w.jobs(wanted); len(found) > 0 {
			return &found[asked.Pick%len(found)]
		}
		return nil
	}
	switch asked.Do {
	case "create":
		if !known {
			w.identify(asked.Object)
			_, err := cronJobs.Create(w.ctx, asked.Object, metav1.CreateOptions{})
			must(err)
		}
	case "patch":
		if known {
			before, err := json.Marshal(there)
			must(err)
			patched, err := jsonpatch.MergePatch(before, asked.Spec)
			must(err)
			after := &batchv1.CronJob{}
			must(json.Unmarshal(patched, after))
			if !equality.Semantic.DeepEqual(there.Spec, after.Spec) { // what changes nothing nobody hears of
				_, err = cronJobs.Update(w.ctx, after, metav1.UpdateOptions{})
				must(err)
			}
		}
	case "delete": // and what garbage collection then does
		if known {
			must(cronJobs.Delete(w.ctx, asked.Name, metav1.DeleteOptions{}))
			time.Sleep(heard)
			for _, one := range w.jobs(func(one batchv1.Job) bool { return metav1.IsControlledBy(&one, there) }) {
				must(jobs.Delete(w.ctx, one.Name, metav1.DeleteOptions{}))
			}
		}
	case "leave": // deletion in the foreground: it stays until a finalizer goes
		if known && there.DeletionTimestamp == nil {
			there.DeletionTimestamp, there.Finalizers = &now, []string{"foregroundDeletion"}
			_, err := cronJobs.Update(w.ctx, there, metav1.UpdateOptions{})
			must(err)
		}
	case "begin":
		if one := pick(func(one batchv1.Job) bool { return one.Status.StartTime == nil }); one != nil {
			one.Status.StartTime = &now
			w.changed(one)
			_, err := jobs.UpdateStatus(w.ctx, one, metav1.UpdateOptions{})
			must(err)
		}
	case "end":
		if one := pick(func(one batchv1.Job) bool { return len(one.Status.Conditions) == 0 }); one != nil {
			end := batchv1.JobCondition{Type: batchv1.JobConditionType(asked.End), Status: v1.ConditionTrue}
			one.Status.Conditions = []batchv1.JobCondition{end}
			if asked.End == "Complete" {
				one.Status.CompletionTime = &now
			}
			w.changed(one)
			_, err := jobs.UpdateStatus(w.ctx, one, metav1.UpdateOptions{})
			must(err)
		}
	case "remove":
		if one := pick(func(batchv1.Job) bool { return true }); one != nil {
			must(jobs.Delete(w.ctx, one.Name, metav1.DeleteOptions{}))
		}
	case "job": // made by hand, with the name that a scheduled one would have
		if w.full {
			return
		}
		made := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("%s-%d", asked.Name, now.Unix()/60+asked.Ahead)}}
		if asked.Owned && known {
			made.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(there, batchv1.SchemeGroupVersion.WithKind("CronJob"))}
		}
		w.identify(made)
		_, err := jobs.Create(w.ctx, made, metav1.CreateOptions{})
		if !apierrors.IsAlreadyExists(err) {
			must(err)
		}
	case "quota":
		w.full = !w.full
	case "stop":
		if w.stop != nil {
			w.stop()
			w.stop = nil
		}
	case "start":
		if w.stop == nil {
			w.start()
		}
	default:
		w.t.Errorf("what is %q?", asked.Do)
	}
}

func run(t *testing.T, told history) []line {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	time.Sleep(time.Until(time.Unix(told.Begin, 0)))
	w := &world{t: t, ctx: ctx, client: fake.NewClientset(), begin: time.Now(), lines: []line{}, texts: map[string]string{}}
	w.keepEvents()
	w.start()
	until := func(second float64) {
		time.Sleep(time.Until(w.begin.Add(time.Duration(second * float64(time.Second)))))
		synctest.Wait()
	}
	for _, each := range told.Commands {
		until(each.At)
		w.do(each)
	}
	until(told.Until)
	if w.stop != nil {
		w.stop()
	}
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
