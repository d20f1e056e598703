package publish

import (
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"

	"palisade.dev/palisade/snapshot/wire"
)

func TestNodeOfReview(t *testing.T) {
	const user = "system:serviceaccount:palisade-system:palisade-nodeagent"
	review := func(change func(*authenticationv1.TokenReviewStatus)) *authenticationv1.TokenReviewStatus {
		s := &authenticationv1.TokenReviewStatus{Authenticated: true, Audiences: []string{"other", wire.Audience}, User: authenticationv1.UserInfo{
			Username: user, Extra: map[string]authenticationv1.ExtraValue{nodeNameExtra: {"node-a"}},
		}}
		change(s)
		return s
	}
	if node, err := nodeOfReview(review(func(*authenticationv1.TokenReviewStatus) {}), user); err != nil || node != "node-a" {
		t.Errorf("node %q, %v", node, err)
	}
	for name, change := range map[string]func(*authenticationv1.TokenReviewStatus){
		"not authenticated": func(s *authenticationv1.TokenReviewStatus) { s.Authenticated = false },
		"no audience":       func(s *authenticationv1.TokenReviewStatus) { s.Audiences = nil },
		"another audience":  func(s *authenticationv1.TokenReviewStatus) { s.Audiences = []string{"https://kubernetes.default.svc"} },
		"another user":      func(s *authenticationv1.TokenReviewStatus) { s.User.Username += "2" },
		"no node":           func(s *authenticationv1.TokenReviewStatus) { s.User.Extra = nil },
		"empty node":        func(s *authenticationv1.TokenReviewStatus) { s.User.Extra[nodeNameExtra] = []string{""} },
		"two nodes":         func(s *authenticationv1.TokenReviewStatus) { s.User.Extra[nodeNameExtra] = []string{"a", "b"} },
	} {
		if node, err := nodeOfReview(review(change), user); err == nil {
			t.Errorf("%s: node %q", name, node)
		}
	}
}
