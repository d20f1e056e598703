package controllers

import (
	"net/netip"
	"testing"

	coordinationv1 "k8s.io/api/coordination/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestTermOf(t *testing.T) {
	lease := func(transitions int32, epoch string) *coordinationv1.Lease {
		l := &coordinationv1.Lease{Spec: coordinationv1.LeaseSpec{LeaseTransitions: &transitions}}
		if epoch != "" {
			l.ObjectMeta = metav1.ObjectMeta{Annotations: map[string]string{EpochAnnotation: epoch}}
		}
		return l
	}
	tests := map[string]struct {
		lease *coordinationv1.Lease
		want  term
		bad   bool
	}{
		"new":          {&coordinationv1.Lease{}, term{}, false},
		"transitions":  {lease(7, ""), term{0, 7}, false},
		"epoch":        {lease(7, "2"), term{2, 7}, false},
		"no epoch":     {lease(7, "two"), term{}, true},
		"minus epoch":  {lease(7, "-2"), term{}, true},
		"large epoch":  {lease(7, "4294967296"), term{}, true},
		"minus number": {lease(-1, ""), term{}, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := termOf(test.lease)
			if (err != nil) != test.bad || err == nil && *got != test.want {
				t.Errorf("got %v, %v; want %v", got, err, test.want)
			}
		})
	}
}

func TestSliceFor(t *testing.T) {
	for text, want := range map[string]discoveryv1.AddressType{"10.0.0.7": discoveryv1.AddressTypeIPv4, "fd00::7": discoveryv1.AddressTypeIPv6} {
		s := sliceFor("palisade-system", netip.MustParseAddr(text), 8443)
		if s.AddressType != want || s.Endpoints[0].Addresses[0] != text || *s.Ports[0].Port != 8443 || s.Labels[discoveryv1.LabelServiceName] != ServiceName {
			t.Errorf("%s: %+v", text, s)
		}
	}
}
