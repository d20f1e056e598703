package controllers_test

import (
	"bytes"
	"context"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"palisade.dev/palisade/test/poll"
)

// TestUnreadableRecord: an accepted spec that this version cannot read, because
// another one wrote it, opens nothing. Its subjects are cut off, the status says
// why, and another spec ends it.
func TestUnreadableRecord(t *testing.T) {
	w := newWorld(t)
	n1 := w.node("n1")
	w.pod("db", n1, "10.1.11.1", app("db"))
	c := w.start()
	p := w.isolate("db", "db", "web")
	w.create(p)
	a := c.agent(n1)
	stop := w.run(a)
	w.expect(p, "Ready=True/Realized")
	c.synced(a)
	stop()
	c.stop()
	w.rewriteRecord(func(data []byte) []byte {
		return bytes.Replace(data, []byte(`"isolate"`), []byte(`"quic":{},"isolate"`), 1)
	})

	c = w.start()
	a.Address = c.address
	w.run(a)
	w.expect(p, "Accepted=False/Unsupported", "Programmed=False/NotAccepted", "Ready=False/Unsupported", "Stalled=True/Unsupported")
	for _, cond := range p.Status.Conditions {
		if cond.Type == "Accepted" && (!strings.Contains(cond.Message, "quic") || !strings.Contains(cond.Message, "its subjects are cut off")) {
			t.Errorf("message %q", cond.Message)
		}
	}
	if got := rules(t, c.synced(a)); len(got) != 1 || !got["db/(unreadable)"] {
		t.Errorf("rules on the node: %v", got)
	}
	w.update(p, func() { p.Spec.Ingress = nil })
	w.expect(p, "Accepted=True/Accepted", "Ready=True/Realized", "Stalled=")
	if got := rules(t, c.synced(a)); len(got) != 1 || !got["db/(isolated)"] {
		t.Errorf("rules on the node: %v", got)
	}
	poll.Until(w, "the unreadable record being dropped", func() error { return w.records(1) })
}

// rewriteRecord replaces the one accepted spec that is kept, as another version
// would have written it.
func (w *world) rewriteRecord(change func([]byte) []byte) {
	w.Helper()
	var list appsv1.ControllerRevisionList
	if err := w.client.List(context.Background(), &list, client.InNamespace(w.system)); err != nil || len(list.Items) != 1 {
		w.Fatalf("%d records: %v", len(list.Items), err)
	}
	old := &list.Items[0]
	changed := change(old.Data.Raw)
	if bytes.Equal(changed, old.Data.Raw) {
		w.Fatalf("nothing to change in %s", changed)
	}
	w.delete(old)
	w.create(&appsv1.ControllerRevision{
		ObjectMeta: metav1.ObjectMeta{Namespace: old.Namespace, Name: old.Name, Labels: old.Labels},
		Revision:   old.Revision, Data: runtime.RawExtension{Raw: changed},
	})
}
