package controllers

import (
	"context"
	"fmt"
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// streamPort is the name of the Service's port.
const streamPort = "stream"

// announce makes the Service lead to this replica. A failure is tried again
// within the hour, and the agents keep what they enforce meanwhile.
func (l *leader) announce(ctx context.Context) {
	if !l.options.PodAddress.IsValid() {
		return
	}
	port, err := netip.ParseAddrPort(l.options.Listener.Addr().String())
	if err == nil {
		err = l.writeSlice(ctx, sliceFor(l.options.Namespace, l.options.PodAddress, port.Port()))
	}
	if err != nil {
		l.log.Error(err, "agents cannot find this leader")
	}
}

func sliceFor(namespace string, address netip.Addr, port uint16) *discoveryv1.EndpointSlice {
	kind := discoveryv1.AddressTypeIPv4
	if address.Is6() {
		kind = discoveryv1.AddressTypeIPv6
	}
	ready, name, number, protocol := true, streamPort, int32(port), corev1.ProtocolTCP
	return &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: ServiceName,
			Labels: map[string]string{
				discoveryv1.LabelServiceName: ServiceName, discoveryv1.LabelManagedBy: "palisade-controller",
			},
		},
		AddressType: kind,
		Endpoints:   []discoveryv1.Endpoint{{Addresses: []string{address.String()}, Conditions: discoveryv1.EndpointConditions{Ready: &ready}}},
		Ports:       []discoveryv1.EndpointPort{{Name: &name, Port: &number, Protocol: &protocol}},
	}
}

func (l *leader) writeSlice(ctx context.Context, want *discoveryv1.EndpointSlice) error {
	have := &discoveryv1.EndpointSlice{}
	err := l.direct.Get(ctx, client.ObjectKeyFromObject(want), have)
	switch {
	case apierrors.IsNotFound(err):
		err = l.direct.Create(ctx, want)
	case err != nil:
	case have.AddressType != want.AddressType:
		// The family of a slice cannot be changed.
		if err = l.direct.Delete(ctx, have); client.IgnoreNotFound(err) == nil {
			err = l.direct.Create(ctx, want)
		}
	case equality.Semantic.DeepEqual(have.Endpoints, want.Endpoints) && equality.Semantic.DeepEqual(have.Ports, want.Ports):
	default:
		have.Labels, have.Endpoints, have.Ports = want.Labels, want.Endpoints, want.Ports
		err = l.direct.Update(ctx, have)
	}
	if err != nil {
		return fmt.Errorf("endpointslice %s/%s: %w", want.Namespace, want.Name, err)
	}
	return nil
}
