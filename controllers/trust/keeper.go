package trust

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Name is the name of the Secret and of the ConfigMap.
const Name = "palisade-trust"

// The keys of the ConfigMap, which agents read, and of the Secret.
const (
	AuthorityKey   = "ca.crt"       // ConfigMap, Secret: PEM
	SigningKeysKey = "signing-keys" // ConfigMap: as snapshot.Keys renders them
	authorityPriv  = "ca.key"       // Secret: PEM
	signingPriv    = "signing.pem"  // Secret: PEM, one block for each key
)

// Material is the private side of trust at one moment.
type Material struct {
	Authority *Authority
	Signing   SigningKeys
}

// Keeper makes and renews the material in the cluster. Only the leader runs it.
type Keeper struct {
	// Client reads the API server itself: a Secret of keys is cached nowhere.
	Client    client.Client
	Namespace string
	Now       func() time.Time

	current atomic.Pointer[Material]
}

// Current is the material of the last Ensure, nil before.
func (k *Keeper) Current() *Material { return k.current.Load() }

// Ensure reads the material, makes what is missing, replaces what is worn out,
// and publishes the public halves.
func (k *Keeper) Ensure(ctx context.Context) (*Material, error) {
	secret := &corev1.Secret{}
	key := client.ObjectKey{Namespace: k.Namespace, Name: Name}
	err := k.Client.Get(ctx, key, secret)
	missing := apierrors.IsNotFound(err)
	if err != nil && !missing {
		return nil, fmt.Errorf("secret %s: %w", key, err)
	}
	m, changed, err := renew(secret.Data, k.Now())
	if err != nil {
		return nil, fmt.Errorf("secret %s: %w", key, err)
	}
	if changed {
		if err := k.save(ctx, secret, m, missing); err != nil {
			return nil, fmt.Errorf("secret %s: %w", key, err)
		}
	}
	if err := k.publish(ctx, m); err != nil {
		return nil, fmt.Errorf("configmap %s: %w", key, err)
	}
	k.current.Store(m)
	return m, nil
}

// renew decides what the material should be, given what the Secret holds.
func renew(data map[string][]byte, now time.Time) (m *Material, changed bool, err error) {
	m = &Material{}
	if _, ok := data[authorityPriv]; !ok {
		m.Authority, err = NewAuthority(now)
		changed = true
	} else {
		m.Authority, err = parseAuthority(data[AuthorityKey], data[authorityPriv])
	}
	if err != nil {
		return nil, false, fmt.Errorf("authority: %w", err)
	}
	if text, ok := data[signingPriv]; ok {
		if m.Signing, err = parseSigningKeys(text); err != nil {
			return nil, false, fmt.Errorf("signing keys: %w", err)
		}
	}
	signing, rotated, err := m.Signing.Rotate(now, FreshKey)
	m.Signing = signing
	return m, changed || rotated, err
}

// save writes the Secret under the version that was read, so that two leaders
// that overlap cannot each make keys of their own.
func (k *Keeper) save(ctx context.Context, secret *corev1.Secret, m *Material, missing bool) error {
	authority, err1 := m.Authority.keyPEM()
	signing, err2 := m.Signing.pem()
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	secret.Data = map[string][]byte{
		AuthorityKey: m.Authority.CertificatePEM(), authorityPriv: authority, signingPriv: signing,
	}
	if missing {
		secret.ObjectMeta = metav1.ObjectMeta{Namespace: k.Namespace, Name: Name}
		secret.Type = corev1.SecretTypeOpaque
		return k.Client.Create(ctx, secret)
	}
	return k.Client.Update(ctx, secret)
}

func (k *Keeper) publish(ctx context.Context, m *Material) error {
	keys, err := m.Signing.Public().MarshalText()
	if err != nil {
		return err
	}
	want := map[string]string{AuthorityKey: string(m.Authority.CertificatePEM()), SigningKeysKey: string(keys)}
	cm := &corev1.ConfigMap{}
	err = k.Client.Get(ctx, client.ObjectKey{Namespace: k.Namespace, Name: Name}, cm)
	if apierrors.IsNotFound(err) {
		cm.ObjectMeta = metav1.ObjectMeta{Namespace: k.Namespace, Name: Name}
		cm.Data = want
		return k.Client.Create(ctx, cm)
	}
	if err != nil || maps.Equal(cm.Data, want) {
		return err
	}
	cm.Data = want
	return k.Client.Update(ctx, cm)
}
