package publish

import (
	"context"
	"fmt"
	"slices"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	authenticationv1 "k8s.io/api/authentication/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"palisade.dev/palisade/snapshot/wire"
)

// Enroll gives the agent that shows a valid token a certificate for the node on
// which its pod runs. The node's name comes from the API server, never from the
// agent.
func (s *Server) Enroll(ctx context.Context, r *wire.EnrollRequest) (*wire.EnrollResponse, error) {
	if err := wire.Strict(r); err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	node, err := s.Identify(ctx, r.GetToken())
	if err != nil {
		s.Log.Info("enrolment refused", "error", err.Error())
		return nil, status.Error(codes.Unauthenticated, err.Error())
	}
	m := s.Material()
	if m == nil {
		return nil, status.Error(codes.Unavailable, errNoMaterial.Error())
	}
	cert, err := m.Authority.Node(s.Now(), node, r.GetRequest())
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	return &wire.EnrollResponse{Certificate: cert, Node: node}, nil
}

// nodeNameExtra is where the API server says on which node a token's pod runs.
const nodeNameExtra = "authentication.kubernetes.io/node-name"

// IdentifyByToken asks the API server whose a token is. Only tokens of the
// given user (the agents' ServiceAccount) that are bound to a pod on a node count.
func IdentifyByToken(c client.Client, user string) func(context.Context, string) (string, error) {
	return func(ctx context.Context, token string) (string, error) {
		review := &authenticationv1.TokenReview{
			Spec: authenticationv1.TokenReviewSpec{Token: token, Audiences: []string{wire.Audience}},
		}
		if err := c.Create(ctx, review); err != nil {
			return "", fmt.Errorf("token review: %w", err)
		}
		return nodeOfReview(&review.Status, user)
	}
}

func nodeOfReview(s *authenticationv1.TokenReviewStatus, user string) (string, error) {
	nodes := s.User.Extra[nodeNameExtra]
	switch {
	case !s.Authenticated:
		return "", fmt.Errorf("token is not valid for the audience %s", wire.Audience)
	case !slices.Contains(s.Audiences, wire.Audience):
		// A server that knows no audiences answers for its own.
		return "", fmt.Errorf("token is valid for the audiences %v, want %s", s.Audiences, wire.Audience)
	case s.User.Username != user:
		return "", fmt.Errorf("token of %s, want one of %s", s.User.Username, user)
	case len(nodes) != 1 || nodes[0] == "":
		return "", fmt.Errorf("token of %s is not bound to a pod on a node", user)
	}
	return nodes[0], nil
}
