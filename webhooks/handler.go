package webhooks

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"

	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
)

// Handler answers admission requests by an Engine.
type Handler struct {
	Engine *Engine
}

var _ admission.Handler = (*Handler)(nil)

// Handle allows or denies one request. Deletes and changes that leave the spec
// alone pass: no rule of today judges them.
func (h *Handler) Handle(ctx context.Context, req admission.Request) admission.Response {
	if req.Operation != admissionv1.Create && req.Operation != admissionv1.Update {
		return admission.Allowed("")
	}
	request, err := newRequest(req)
	if err != nil {
		return refused(http.StatusBadRequest, metav1.StatusReasonBadRequest, err.Error(), nil)
	}
	if request.Old != nil && reflect.DeepEqual(request.Object["spec"], request.Old["spec"]) {
		return admission.Allowed("")
	}
	if isPolicy(request.Kind) {
		if _, err := translateObject(request.Kind, req.Object.Raw); err != nil {
			// The controller would not accept it; its author hears that now.
			count(request.Kind, outcomeRefused)
			return refused(http.StatusForbidden, metav1.StatusReasonForbidden, err.Error(), nil)
		}
	}
	verdict, err := h.Engine.Judge(ctx, request)
	if err != nil {
		// Fail closed. What went wrong is ours and not the object's.
		count(request.Kind, outcomeError)
		logf.FromContext(ctx).Error(err, "admission denies what it cannot judge", "kind", req.Kind.Kind, "namespace", req.Namespace, "name", req.Name)
		return refused(http.StatusInternalServerError, metav1.StatusReasonInternalError,
			fmt.Sprintf("palisade denies what it cannot judge: %s: try again, and see the controller's log", err), nil)
	}
	response, outcome := admission.Allowed(""), outcomeAllowed
	if len(verdict.Refused) > 0 {
		outcome = outcomeRefused
		response = refused(http.StatusForbidden, metav1.StatusReasonForbidden, join(verdict.Refused), verdict.Refused)
		logf.FromContext(ctx).Info("admission refused", "kind", req.Kind.Kind, "namespace", req.Namespace, "name", req.Name,
			"user", req.UserInfo.Username, "reason", response.Result.Message)
	}
	count(request.Kind, outcome, slices.Concat(verdict.Refused, verdict.Warnings)...)
	for _, note := range verdict.Notes {
		response.Warnings = append(response.Warnings, shorten("palisade: "+note, maxWarning))
	}
	response.Warnings = append(response.Warnings, warnings(verdict.Warnings)...)
	return response
}

// newRequest decodes the objects of a request.
func newRequest(req admission.Request) (Request, error) {
	out := Request{Kind: req.Kind.Kind}
	if err := unmarshal(req.Object.Raw, &out.Object); err != nil {
		return Request{}, fmt.Errorf("object: %w", err)
	}
	if req.Operation == admissionv1.Update {
		if err := unmarshal(req.OldObject.Raw, &out.Old); err != nil {
			return Request{}, fmt.Errorf("old object: %w", err)
		}
	}
	return out, nil
}

// unmarshal keeps numbers as they are written, so that comparing two specs does
// not depend on how floats print.
func unmarshal(raw []byte, target *map[string]any) error {
	d := json.NewDecoder(strings.NewReader(string(raw)))
	d.UseNumber()
	return d.Decode(target)
}

func refused(code int32, reason metav1.StatusReason, message string, violations []Violation) admission.Response {
	status := &metav1.Status{Status: metav1.StatusFailure, Code: code, Reason: reason, Message: message}
	for _, v := range violations {
		if status.Details == nil {
			status.Details = &metav1.StatusDetails{}
		}
		status.Details.Causes = append(status.Details.Causes, metav1.StatusCause{
			Type: metav1.CauseTypeFieldValueInvalid, Field: v.Field, Message: v.String(),
		})
	}
	return admission.Response{AdmissionResponse: admissionv1.AdmissionResponse{Result: status}}
}

// join is the message of a denial: every reason, in order.
func join(violations []Violation) string {
	lines := make([]string, len(violations))
	for i, v := range violations {
		lines[i] = v.String()
	}
	return strings.Join(lines, "; ")
}

// The API server cuts warnings of more than 256 characters, and drops the rest
// of too many.
const (
	maxWarning  = 255
	maxWarnings = 8
)

func warnings(violations []Violation) []string {
	var out []string
	for i, v := range violations {
		if i == maxWarnings-1 && len(violations) > maxWarnings {
			return append(out, fmt.Sprintf("palisade: %d more warnings", len(violations)-i))
		}
		out = append(out, shorten("palisade: "+v.String(), maxWarning))
	}
	return out
}

// shorten returns at most limit characters of text, with a sign where it was cut.
func shorten(text string, limit int) string {
	if runes := []rune(text); len(runes) > limit {
		return string(runes[:limit-1]) + "…"
	}
	return text
}
