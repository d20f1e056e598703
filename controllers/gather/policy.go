package gather

import (
	"sigs.k8s.io/controller-runtime/pkg/client"

	"palisade.dev/palisade/api/v1alpha1"
	"palisade.dev/palisade/controllers/accepted"
	"palisade.dev/palisade/policy/compile"
	"palisade.dev/palisade/policy/model"
)

// policy is what the engine knows of one policy object.
type policy struct {
	live    client.Object    // as the API server has it
	inForce *accepted.Record // what is compiled, nil for nothing
	model   model.Policy     // inForce, translated with the live status
	lost    error            // why this version cannot compile inForce; model stands in for it
	judged  bool
	outcome Outcome
	fresh   bool // outcome.Counter is not known before publishing
}

// candidate is a spec that waits to be accepted.
type candidate struct {
	policy *policy
	record *accepted.Record
	model  model.Policy
}

func order(r *accepted.Record) compile.Order { return compile.Order(r.At.Unix()) }

// lookAtPolicy brings the compiler up to what is in force of a policy now, and
// returns the candidate that stands before acceptance, if there is one.
func (e *Engine) lookAtPolicy(ref model.PolicyRef, live client.Object) *candidate {
	if live == nil {
		delete(e.policies, ref)
		delete(e.retry, ref)
		delete(e.crowded, ref)
		e.forgetOwner(ref)
		e.compiler.DeletePolicy(ref)
		return nil
	}
	p := e.policies[ref]
	if p == nil || p.live.GetUID() != live.GetUID() {
		p = &policy{}
		e.policies[ref] = p
		delete(e.crowded, ref)
	}
	p.live = live
	e.recognise(ref, live.GetUID())
	choice := accepted.Choose(live, e.newest(ref), e.leading.Load())
	e.setInForce(ref, p, choice.InForce)
	switch {
	case choice.Try:
	case p.lost != nil:
		e.refuse(p, v1alpha1.ReasonUnsupported, "this version cannot enforce it exactly")
		return nil
	default:
		e.judge(p)
		return nil
	}
	record, err := accepted.New(live)
	if err != nil {
		e.Log.Error(err, "policy is not looked at", "policy", ref.String())
		return nil
	}
	m, err := accepted.ModelOf(live)
	if err != nil {
		e.refuse(p, v1alpha1.ReasonInvalid, err.Error())
		return nil
	}
	e.compiler.PutPolicy(m, compile.Candidate)
	return &candidate{p, record, m}
}

// setInForce makes a record what is compiled of a policy, or its stand-in.
func (e *Engine) setInForce(ref model.PolicyRef, p *policy, r *accepted.Record) {
	p.inForce, p.lost = r, nil
	if r != nil {
		if p.model, p.lost = r.Model(p.live); p.lost != nil {
			e.Log.Error(p.lost, "accepted spec cannot be compiled: its subjects are cut off", "policy", ref.String(), "controllerrevision", r.Name)
		}
	}
	e.putInForce(ref, p)
}

// putInForce gives the compiler what is in force of a policy.
func (e *Engine) putInForce(ref model.PolicyRef, p *policy) {
	if p == nil || p.inForce == nil {
		e.compiler.DeletePolicy(ref)
		return
	}
	e.compiler.PutPolicy(p.model, order(p.inForce))
}

// judge records that the live spec is in force, if it is: on a standby that may
// have to wait for the leader's verdict, and a crowded policy for room.
func (e *Engine) judge(p *policy) {
	if p.inForce == nil || p.lost != nil || p.inForce.Generation != p.live.GetGeneration() || e.crowded[p.inForce.Ref] {
		return
	}
	if o := &p.outcome; !p.judged || !o.Accepted || o.Generation != p.inForce.Generation {
		*o = Outcome{UID: p.live.GetUID(), Generation: p.inForce.Generation, Accepted: true}
		p.judged, p.fresh = true, true
	}
	p.outcome.describe(p)
}

// refuse records that the live spec is not accepted.
func (e *Engine) refuse(p *policy, reason, message string) {
	if p.lost != nil {
		message += lossOf(p)
	}
	p.outcome = Outcome{
		UID: p.live.GetUID(), Generation: p.live.GetGeneration(), Reason: reason, Message: message,
		Older: p.inForce != nil && p.lost == nil, Counter: p.outcome.Counter,
	}
	p.outcome.describe(p)
	p.judged = true
	refused.WithLabelValues(reason).Inc()
}

func (o *Outcome) describe(p *policy) {
	if p.inForce == nil {
		return
	}
	o.Audit = p.model.Mode == model.Audit
	o.External = p.model.Subject.Kind == model.EndpointExternal
	o.Network = len(p.model.Ingress)+len(p.model.Egress) > 0 || p.model.IsolateIngress || p.model.IsolateEgress
	o.Sections, o.Asks, o.Prevent = nil, [model.Sections][]Ask{}, false
	if r := p.model.Runtime; r != nil {
		o.Prevent = r.Prevent
		for s := range r.Sections {
			if r.Sections[s].Isolates || len(r.Sections[s].Rules) > 0 {
				o.Sections = append(o.Sections, model.Section(s))
				o.Asks[s] = asks(model.Section(s), &r.Sections[s])
			}
		}
	}
	o.Exceptions = exceptions(p.inForce.Policy)
	o.ExpiresAt = accepted.ExpiresAt(p.inForce.Policy)
}
