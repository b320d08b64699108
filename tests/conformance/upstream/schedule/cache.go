//go:build v1_30 || v1_32

package main

import (
	"context"
	"errors"
	"reflect"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/klog/v2"
	"k8s.io/kubernetes/pkg/scheduler"
	"k8s.io/kubernetes/pkg/scheduler/framework"
)

// board is what the plug-ins see of the nodes and the pods on them, filled by way of the scheduler's cache.
type board struct {
	framework.SharedLister
	made  *scheduler.Scheduler
	pods  []*corev1.Pod
	nodes []*corev1.Node
}

func newBoard() *board { return &board{} }

func (b *board) options() []scheduler.Option { return nil }

func (b *board) attach(made *scheduler.Scheduler) {
	b.made = made
	for _, one := range made.Profiles { // they share one
		b.SharedLister = one.SnapshotSharedLister()
	}
}

func (b *board) fill(ctx context.Context, pods []*corev1.Pod, nodes []*corev1.Node) error {
	logger := klog.FromContext(ctx)
	var failed []error
	for _, pod := range b.pods {
		failed = append(failed, b.made.Cache.RemovePod(logger, pod))
	}
	for _, node := range b.nodes {
		failed = append(failed, b.made.Cache.RemoveNode(logger, node))
	}
	b.pods, b.nodes = pods, nodes
	for _, node := range nodes {
		b.made.Cache.AddNode(logger, node)
	}
	for _, pod := range pods {
		failed = append(failed, b.made.Cache.AddPod(logger, pod))
	}
	// The snapshot's type is internal to the scheduler, so that it cannot be named here.
	update := reflect.ValueOf(b.made.Cache).MethodByName("UpdateSnapshot")
	said := update.Call([]reflect.Value{reflect.ValueOf(logger), reflect.ValueOf(b.SharedLister)})
	if err, _ := said[0].Interface().(error); err != nil {
		failed = append(failed, err)
	}
	return errors.Join(failed...)
}
