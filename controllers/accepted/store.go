package accepted

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Store writes records. Only the leader does.
type Store struct {
	Client    client.Client
	Namespace string
}

// Keep writes a record; a record that is there already is fine.
func (s *Store) Keep(ctx context.Context, r *Record) error {
	revision, err := r.revision(s.Namespace)
	if err != nil {
		return err
	}
	err = s.Client.Create(ctx, revision)
	if apierrors.IsAlreadyExists(err) {
		err = s.Client.Get(ctx, client.ObjectKeyFromObject(revision), revision)
	}
	if err != nil {
		return fmt.Errorf("accepted spec of %s: %w", r.Ref, err)
	}
	r.At = revision.CreationTimestamp.Time
	return nil
}

// Drop deletes a record; one that is gone is fine.
func (s *Store) Drop(ctx context.Context, r *Record) error {
	revision := &appsv1.ControllerRevision{ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: r.Name}}
	if err := s.Client.Delete(ctx, revision); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("controllerrevision %s: %w", r.Name, err)
	}
	return nil
}
