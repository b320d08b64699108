// Runs metric histories against the real HorizontalPodAutoscaler controller, in the virtual time of testing/synctest.
//
//	HISTORIES=cases.jsonl ANSWERS=answers.jsonl go test ./autoscaler
//
// One history a line. The whole controller runs (informers, work queue, events); scale, pods and metrics are fakes that
// answer from the history. What every sync decided is written with the instant at which it decided.
package autoscaler

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

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta/testrestmapper"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	utilversion "k8s.io/apimachinery/pkg/util/version"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	scalefake "k8s.io/client-go/scale/fake"
	core "k8s.io/client-go/testing"
	"k8s.io/klog/v2"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	_ "k8s.io/kubernetes/pkg/apis/apps/install"
	_ "k8s.io/kubernetes/pkg/apis/autoscaling/install"
	_ "k8s.io/kubernetes/pkg/apis/core/install"
	"k8s.io/kubernetes/pkg/controller/podautoscaler"
	"k8s.io/kubernetes/pkg/controller/podautoscaler/metrics"
	"k8s.io/metrics/pkg/apis/custom_metrics/v1beta2"
	externalv1beta1 "k8s.io/metrics/pkg/apis/external_metrics/v1beta1"
	metricsv1beta1 "k8s.io/metrics/pkg/apis/metrics/v1beta1"
	resourceclient "k8s.io/metrics/pkg/client/clientset/versioned/typed/metrics/v1beta1"
	customclient "k8s.io/metrics/pkg/client/custom_metrics"
	externalclient "k8s.io/metrics/pkg/client/external_metrics"
)

const (
	syncPeriod = 15 * time.Second
	ahead      = 6 * time.Second // the world of a step is there this long before the step's own time
)

// A pod is [phase, ready ("True", "False" or ""), age, seconds since readiness changed, terminating].
type podState struct {
	phase, ready string
	age, changed int
	terminating  bool
}

func (p *podState) UnmarshalJSON(data []byte) error {
	return json.Unmarshal(data, &[]any{&p.phase, &p.ready, &p.age, &p.changed, &p.terminating})
}

// Usage is [index of the pod, age of the sample, window, usage by container and resource].
type usage struct {
	pod, age, window int
	containers       map[string]map[string]string
}

func (u *usage) UnmarshalJSON(data []byte) error {
	return json.Unmarshal(data, &[]any{&u.pod, &u.age, &u.window, &u.containers})
}

type custom struct {
	Kind     string                `json:"kind"`
	Name     string                `json:"name"`
	Metric   string                `json:"metric"`
	Selector *metav1.LabelSelector `json:"selector"`
	Value    string                `json:"value"`
}

type external struct {
	Metric string            `json:"metric"`
	Labels map[string]string `json:"labels"`
	Value  string            `json:"value"`
}

type step struct {
	Spec           *autoscalingv2.HorizontalPodAutoscalerSpec `json:"spec"`
	Replicas       *int32                                     `json:"replicas"`
	StatusReplicas *int32                                     `json:"statusReplicas"`
	Selector       *string                                    `json:"selector"`
	Gone           bool                                       `json:"gone"`
	Pods           []podState                                 `json:"pods"`
	Usage          []usage                                    `json:"usage"`
	Custom         []custom                                   `json:"custom"`
	External       []external                                 `json:"external"`
}

type history struct {
	Minor    int                                       `json:"minor"`
	Spec     autoscalingv2.HorizontalPodAutoscalerSpec `json:"spec"`
	Replicas int32                                     `json:"replicas"`
	Template v1.PodSpec                                `json:"template"`
	Steps    []step                                    `json:"steps"`
}

type decision struct {
	Step     int                                         `json:"step"`
	At       int64                                       `json:"at"` // microseconds since the beginning
	Replicas int32                                       `json:"replicas"`
	Status   autoscalingv2.HorizontalPodAutoscalerStatus `json:"status"`
	Events   []string                                    `json:"events"`
}

// The world that the fakes answer from.
type world struct {
	sync.Mutex
	begin    time.Time
	now      step
	base     time.Time
	template v1.PodSpec
	replicas int32
	jitter   uint32
	syncs    []time.Time
}

func (w *world) visible() int { return min(len(w.now.Pods), int(w.replicas)) }

func (w *world) pods() []*v1.Pod {
	var out []*v1.Pod
	for i, state := range w.now.Pods[:w.visible()] {
		started := metav1.NewTime(w.base.Add(-time.Duration(state.age) * time.Second))
		pod := &v1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: name(i), Namespace: "default", Labels: map[string]string{"app": "web"}},
			Spec:       w.template,
			Status:     v1.PodStatus{Phase: v1.PodPhase(state.phase)},
		}
		if state.age >= 0 {
			pod.Status.StartTime = &started
		}
		if state.ready != "" {
			changed := metav1.NewTime(w.base.Add(-time.Duration(state.changed) * time.Second))
			pod.Status.Conditions = []v1.PodCondition{
				{Type: v1.PodReady, Status: v1.ConditionStatus(state.ready), LastTransitionTime: changed},
			}
		}
		if state.terminating {
			pod.DeletionTimestamp = &started
		}
		out = append(out, pod)
	}
	return out
}

func name(i int) string { return fmt.Sprintf("web-%02d", i) }

func (w *world) scale() *autoscalingv1.Scale {
	status := int32(w.visible())
	if w.now.StatusReplicas != nil {
		status = *w.now.StatusReplicas
	}
	selector := "app=web"
	if w.now.Selector != nil {
		selector = *w.now.Selector
	}
	return &autoscalingv1.Scale{
		ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "default"},
		Spec:       autoscalingv1.ScaleSpec{Replicas: w.replicas},
		Status:     autoscalingv1.ScaleStatus{Replicas: status, Selector: selector},
	}
}

type resourceMetrics struct {
	resourceclient.PodMetricsInterface
	*world
}

func (m resourceMetrics) PodMetricses(string) resourceclient.PodMetricsInterface { return m }

func (m resourceMetrics) List(context.Context, metav1.ListOptions) (*metricsv1beta1.PodMetricsList, error) {
	m.Lock()
	defer m.Unlock()
	list := &metricsv1beta1.PodMetricsList{}
	for _, used := range m.now.Usage {
		if used.pod >= m.visible() {
			continue
		}
		item := metricsv1beta1.PodMetrics{
			ObjectMeta: metav1.ObjectMeta{Name: name(used.pod), Namespace: "default"},
			Timestamp:  metav1.NewTime(m.base.Add(-time.Duration(used.age) * time.Second)),
			Window:     metav1.Duration{Duration: time.Duration(used.window) * time.Second},
		}
		for _, container := range append(append([]v1.Container{}, m.template.Containers...), m.template.InitContainers...) {
			amounts, there := used.containers[container.Name]
			if !there {
				continue
			}
			list := v1.ResourceList{}
			for resourceName, amount := range amounts {
				list[v1.ResourceName(resourceName)] = resource.MustParse(amount)
			}
			item.Containers = append(item.Containers, metricsv1beta1.ContainerMetrics{Name: container.Name, Usage: list})
		}
		list.Items = append(list.Items, item)
	}
	return list, nil
}

type customMetrics struct{ *world }

func (m customMetrics) RootScopedMetrics() customclient.MetricsInterface       { return m }
func (m customMetrics) NamespacedMetrics(string) customclient.MetricsInterface { return m }

func (m customMetrics) matching(kind, metric string, selector labels.Selector) []custom {
	var out []custom
	for _, value := range m.now.Custom {
		if value.Kind != kind || value.Metric != metric {
			continue
		}
		// As the controller asks: a metric without a selector is asked for with one that selects nothing.
		own, err := metav1.LabelSelectorAsSelector(value.Selector)
		if err == nil && own.String() == selector.String() {
			out = append(out, value)
		}
	}
	return out
}

func (m customMetrics) GetForObject(kind schema.GroupKind, object string, metric string, selector labels.Selector) (*v1beta2.MetricValue, error) {
	m.Lock()
	defer m.Unlock()
	for _, value := range m.matching(kind.Kind, metric, selector) {
		if value.Name == object {
			found := m.value(value)
			return &found, nil
		}
	}
	return nil, unknown(fmt.Sprintf("the server could not find the metric %s for %s %s", metric, resourceOf(kind), object))
}

func (m customMetrics) GetForObjects(kind schema.GroupKind, _ labels.Selector, metric string, selector labels.Selector) (*v1beta2.MetricValueList, error) {
	m.Lock()
	defer m.Unlock()
	list := &v1beta2.MetricValueList{}
	there := map[string]bool{}
	for i := range m.visible() {
		there[name(i)] = true
	}
	for _, value := range m.matching(kind.Kind, metric, selector) {
		if there[value.Name] {
			list.Items = append(list.Items, m.value(value))
		}
	}
	return list, nil
}

func (m customMetrics) value(value custom) v1beta2.MetricValue {
	return v1beta2.MetricValue{
		DescribedObject: v1.ObjectReference{Kind: value.Kind, Name: value.Name, Namespace: "default"},
		Metric:          v1beta2.MetricIdentifier{Name: value.Metric, Selector: value.Selector},
		Timestamp:       metav1.NewTime(m.base),
		Value:           resource.MustParse(value.Value),
	}
}

type externalMetrics struct{ *world }

func (m externalMetrics) NamespacedMetrics(string) externalclient.MetricsInterface { return m }

func (m externalMetrics) List(metric string, selector labels.Selector) (*externalv1beta1.ExternalMetricValueList, error) {
	m.Lock()
	defer m.Unlock()
	list := &externalv1beta1.ExternalMetricValueList{}
	asked, err := labels.Parse(selector.String()) // what travels to the server: no selector selects everything
	if err != nil {
		return nil, err
	}
	for _, value := range m.now.External {
		if value.Metric == metric && asked.Matches(labels.Set(value.Labels)) {
			list.Items = append(list.Items, externalv1beta1.ExternalMetricValue{
				MetricName: metric, MetricLabels: value.Labels, Timestamp: metav1.NewTime(m.base), Value: resource.MustParse(value.Value),
			})
		}
	}
	return list, nil
}

func resourceOf(kind schema.GroupKind) string {
	plural := strings.ToLower(kind.Kind) + "s"
	if strings.HasSuffix(plural, "sss") {
		plural = strings.TrimSuffix(plural, "s") + "es"
	}
	return schema.GroupResource{Group: kind.Group, Resource: plural}.String()
}

func unknown(message string) error {
	return &apierrors.StatusError{ErrStatus: metav1.Status{Status: metav1.StatusFailure, Code: 404, Reason: metav1.StatusReasonNotFound, Message: message}}
}

func run(t *testing.T, told history) []decision {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	w := &world{begin: time.Now(), template: told.Template, replicas: told.Replicas, jitter: 1}
	set := func(number int) {
		w.Lock()
		defer w.Unlock()
		w.now = told.Steps[number]
		w.base = w.begin.Add(time.Duration(number) * syncPeriod)
		if w.now.Replicas != nil {
			w.replicas = *w.now.Replicas
		}
	}
	hpa := &autoscalingv2.HorizontalPodAutoscaler{
		ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "default", Generation: 1, UID: "u"},
		Spec:       told.Spec,
	}
	client := fake.NewClientset(hpa)
	var events []string
	texts := map[string]string{}
	client.PrependReactor("create", "events", func(action core.Action) (bool, runtime.Object, error) {
		event := action.(core.CreateAction).GetObject().(*v1.Event)
		w.Lock()
		event.Name = fmt.Sprint(len(events)) // virtual time would name two events of an instant alike
		texts[event.Name] = event.Type + " " + event.Reason + " "
		events = append(events, texts[event.Name]+event.Message)
		texts[event.Name+"/message"] = event.Message
		w.Unlock()
		return true, event, nil
	})
	client.PrependReactor("patch", "events", func(action core.Action) (bool, runtime.Object, error) {
		var event v1.Event
		if err := json.Unmarshal(action.(core.PatchAction).GetPatch(), &event); err != nil {
			t.Error(err)
		}
		w.Lock()
		name := action.(core.PatchAction).GetName()
		if texts[name] == "" {
			w.Unlock()
			return true, nil, apierrors.NewNotFound(v1.Resource("events"), name)
		}
		if event.Message != "" {
			texts[name+"/message"] = event.Message
		}
		events = append(events, texts[name]+texts[name+"/message"])
		w.Unlock()
		return true, &event, nil
	})
	scales := &scalefake.FakeScaleClient{}
	scales.AddReactor("get", "*", func(core.Action) (bool, runtime.Object, error) {
		w.Lock()
		w.jitter = w.jitter*1664525 + 1013904223
		pause := time.Duration(1+w.jitter>>20%9) * time.Millisecond
		w.Unlock()
		time.Sleep(pause) // no sync is as long as another: what lies exactly one window back has left it
		w.Lock()
		defer w.Unlock()
		if n := len(w.syncs); n == 0 || time.Since(w.syncs[n-1]) > time.Second { // each version of the kind is tried
			w.syncs = append(w.syncs, time.Now())
		}
		if w.now.Gone {
			return true, nil, unknown(`deployments.apps "web" not found`)
		}
		return true, w.scale(), nil
	})
	scales.AddReactor("update", "*", func(action core.Action) (bool, runtime.Object, error) {
		w.Lock()
		defer w.Unlock()
		asked := action.(core.UpdateAction).GetObject().(*autoscalingv1.Scale)
		w.replicas = asked.Spec.Replicas
		return true, asked, nil
	})
	factory := informers.NewSharedInformerFactory(client, 0)
	pods := factory.Core().V1().Pods()
	controller := podautoscaler.NewHorizontalController(
		ctx, client.CoreV1(), scales, client.AutoscalingV2(), testrestmapper.TestOnlyStaticRESTMapper(legacyscheme.Scheme),
		metrics.NewRESTMetricsClient(resourceMetrics{world: w}, customMetrics{w}, externalMetrics{w}),
		factory.Autoscaling().V2().HorizontalPodAutoscalers(), pods,
		syncPeriod, 5*time.Minute, 0.1, 5*time.Minute, 30*time.Second,
	)
	show := func() {
		w.Lock()
		defer w.Unlock()
		shown := []interface{}{}
		for _, pod := range w.pods() {
			shown = append(shown, pod)
		}
		if err := pods.Informer().GetIndexer().Replace(shown, "1"); err != nil {
			t.Error(err)
		}
	}
	var decisions []decision
	seen, told1 := 0, 0
	snapshot := func(number int) {
		synctest.Wait()
		w.Lock()
		defer w.Unlock()
		if len(w.syncs) == seen {
			return
		}
		if len(w.syncs) > seen+1 {
			t.Errorf("%d syncs where one was expected", len(w.syncs)-seen)
		}
		seen = len(w.syncs)
		now, err := client.AutoscalingV2().HorizontalPodAutoscalers("default").Get(ctx, "web", metav1.GetOptions{})
		if err != nil {
			t.Error(err)
			return
		}
		at := w.syncs[seen-1].Sub(w.begin)
		decisions = append(decisions, decision{number, at.Microseconds(), w.replicas, now.Status, events[told1:]})
		told1 = len(events)
	}
	set(0)
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	show()
	finished := make(chan struct{})
	go func() { controller.Run(ctx, 1); close(finished) }()
	for number := range told.Steps {
		begin := w.begin.Add(time.Duration(number) * syncPeriod)
		if number > 0 {
			time.Sleep(time.Until(begin.Add(-ahead)))
			set(number)
			show()
			if spec := told.Steps[number].Spec; spec != nil {
				now, err := client.AutoscalingV2().HorizontalPodAutoscalers("default").Get(ctx, "web", metav1.GetOptions{})
				if err != nil {
					t.Error(err)
				}
				now.Spec = *spec
				now.Generation++
				if _, err := client.AutoscalingV2().HorizontalPodAutoscalers("default").Update(ctx, now, metav1.UpdateOptions{}); err != nil {
					t.Error(err)
				}
				time.Sleep(time.Second)
				snapshot(number)
				show()
			}
		}
		time.Sleep(time.Until(begin.Add(ahead / 2)))
		snapshot(number)
	}
	cancel()
	<-finished
	factory.Shutdown()
	return decisions
}

// emulate sets the features of a version. That a sync waits for its own last write needs a server's resourceVersions.
func emulate(t *testing.T, version string) {
	if err := utilfeature.DefaultMutableFeatureGate.SetEmulationVersion(utilversion.MustParse(version)); err != nil {
		t.Fatal(err)
	}
	if utilfeature.DefaultFeatureGate.Enabled("StaleControllerConsistencyHPA") {
		if err := utilfeature.DefaultMutableFeatureGate.Set("StaleControllerConsistencyHPA=false"); err != nil {
			t.Fatal(err)
		}
	}
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
	version := ""
	for lines.Scan() {
		var told history
		if err := json.Unmarshal(lines.Bytes(), &told); err != nil {
			t.Fatal(err)
		}
		if wanted := fmt.Sprintf("1.%d", told.Minor); wanted != version {
			if version != "" {
				t.Fatalf("histories of %s and %s: one process is one version", version, wanted)
			}
			version = wanted
			emulate(t, version)
		}
		var decisions []decision
		synctest.Test(t, func(t *testing.T) { decisions = run(t, told) })
		answer, err := json.Marshal(decisions)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := out.Write(append(answer, '\n')); err != nil {
			t.Fatal(err)
		}
	}
}
