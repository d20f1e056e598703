package compile

import (
	"maps"
	"math"
	"net/netip"
	"slices"

	"palisade.dev/palisade/policy/identity"
	"palisade.dev/palisade/policy/index"
	"palisade.dev/palisade/policy/model"
	"palisade.dev/palisade/snapshot"
)

// Order says how new a policy is: among policies that contend for space, the one
// with the greatest order loses.
type Order int64

// Candidate is the order of a policy that is only tried: it is newer than all
// others, and if it does not fit, nothing stands in for it.
const Candidate Order = math.MaxInt64

// Options bound what is compiled.
type Options struct {
	CellsPerRuleset int // 0: DefaultCellsPerRuleset
	CellsPerNode    int // 0: DefaultCellsPerNode
	RulesPerNode    int // of all policies; 0: DefaultRulesPerNode
	RuntimeRules    int // of one container; 0: DefaultRuntimeRules
	RuntimePerNode  int // entries of runtime rules; 0: DefaultRuntimePerNode
	Containers      int // named ones of one kind of pods; 0: DefaultContainers
}

// The bounds where Options does not say otherwise.
const (
	DefaultCellsPerRuleset = 1 << 16
	DefaultCellsPerNode    = 1 << 20
	DefaultRulesPerNode    = snapshot.MaxRulesPerNode - standInsPerNode
	DefaultRuntimeRules    = snapshot.MaxRuntimeRulesPerRuleset - model.Sections*standInRules
	DefaultRuntimePerNode  = 1 << 18
	DefaultContainers      = 128
)

// Compiler keeps every node's rows up to date. It is not safe for concurrent use.
type Compiler struct {
	options Options

	// What exists.
	ids           *identity.Table
	policies      map[model.PolicyRef]*policy
	addressGroups map[string][]netip.Prefix
	apiServer     []netip.Addr

	// What follows from it.
	index       index.Index[*kind, *selector]
	selectors   map[string]*selector
	kinds       map[*identity.Kind]*kind
	world       *kind
	groups      map[string]*group // by content
	entities    [4]*group         // by model.Entity; those that kinds decide
	listed      map[string]*group // by name of the address group
	apiGroup    *group
	portNames   map[string]*portName
	lenses      map[string]*lens
	rulesets    map[string]*ruleset
	programs    map[snapshot.ProgramID]*program
	nodes       map[model.NodeName]*node
	common      table
	addresses   claims[netip.Addr]
	refused     map[*policy]struct{}
	defaultRule *ruleInfo

	runtimeRulesets map[string]*runtimeRuleset
	runtimeLists    map[string]*bag[*policy] // by name of the address group: whose runtime rules name it
	runtimeBuiltin  []*ruleInfo              // what a node names that has runtime rules

	// Since the last commit.
	pending         map[model.PolicyRef]pendingPolicy
	reading         map[model.PolicyRef]*identity.Needs
	areas           map[*group]struct{} // whose addresses changed
	unsettled       bool                // what refusals depend on changed
	dirtyKinds      []*kind
	dirtyNodes      []*node
	changedLenses   []*lens
	changedRulesets []*ruleset
	unfocused       []*ruleset // whose lens may be another now
	renamed         []*ruleInfo
	changedRuntime  []*runtimeRuleset
	recounting      []*runtimeRuleset   // which may have other peers
	reseated        []*kind             // whose containers have other rulesets
	rewritten       []*runtimeRule      // whose rows changed
	relisted        map[string]struct{} // address groups that changed
	installing      []*ruleset          // that some node does not have yet
	shared          []*shared           // rows that those bring along
	touchedAddrs    map[netip.Addr]struct{}
	idle            idle

	commits uint64
	seq     uint32
	scratch []byte
	stats   Stats
}

// idle lists what nobody may need any more once the commit is over.
type idle struct {
	groups    []*group
	selectors []*selector
	lenses    []*lens
	rulesets  []*ruleset
	runtime   []*runtimeRuleset
	programs  []*program
	kinds     []*identity.Kind
}

// New returns a compiler of an empty cluster.
func New(options Options) *Compiler {
	if options.CellsPerRuleset == 0 {
		options.CellsPerRuleset = DefaultCellsPerRuleset
	}
	if options.CellsPerNode == 0 {
		options.CellsPerNode = DefaultCellsPerNode
	}
	if options.RulesPerNode == 0 {
		options.RulesPerNode = DefaultRulesPerNode
	}
	if options.RuntimeRules == 0 {
		options.RuntimeRules = DefaultRuntimeRules
	}
	if options.RuntimePerNode == 0 {
		options.RuntimePerNode = DefaultRuntimePerNode
	}
	if options.Containers == 0 {
		options.Containers = DefaultContainers
	}
	defaultRule := newRuleInfo(model.Builtin(model.RuleDefault), "", "", nil)
	return &Compiler{
		options:       options,
		ids:           identity.NewTable(),
		policies:      make(map[model.PolicyRef]*policy),
		addressGroups: make(map[string][]netip.Prefix),
		selectors:     make(map[string]*selector),
		kinds:         make(map[*identity.Kind]*kind),
		world:         &kind{id: snapshot.WorldKind},
		groups:        make(map[string]*group),
		listed:        make(map[string]*group),
		portNames:     make(map[string]*portName),
		lenses:        make(map[string]*lens),
		rulesets:      make(map[string]*ruleset),
		programs:      make(map[snapshot.ProgramID]*program),
		nodes:         make(map[model.NodeName]*node),
		common:        newTable(),
		addresses:     newClaims[netip.Addr](),
		refused:       make(map[*policy]struct{}),
		defaultRule:   defaultRule,
		pending:       make(map[model.PolicyRef]pendingPolicy),
		reading:       make(map[model.PolicyRef]*identity.Needs),
		areas:         make(map[*group]struct{}),
		touchedAddrs:  make(map[netip.Addr]struct{}),

		runtimeRulesets: make(map[string]*runtimeRuleset),
		runtimeLists:    make(map[string]*bag[*policy]),
		runtimeBuiltin:  []*ruleInfo{defaultRule, newRuleInfo(model.Builtin(model.RuleUnresolvable), "", "", nil)},
		relisted:        make(map[string]struct{}),
	}
}

// Full compiles a whole cluster at once. All policies are of one order.
func Full(cluster model.Cluster, options Options) *Compiler {
	return Ordered(cluster, func(model.PolicyRef) Order { return 0 }, options)
}

// Ordered compiles a whole cluster at once.
func Ordered(cluster model.Cluster, order func(model.PolicyRef) Order, options Options) *Compiler {
	c := New(options)
	for i := range cluster.Namespaces {
		c.PutNamespace(cluster.Namespaces[i])
	}
	for i := range cluster.Endpoints {
		c.PutEndpoint(cluster.Endpoints[i])
	}
	for i := range cluster.AddressGroups {
		c.PutAddressGroup(cluster.AddressGroups[i])
	}
	c.SetAPIServer(cluster.APIServer)
	for i := range cluster.Policies {
		c.PutPolicy(cluster.Policies[i], order(cluster.Policies[i].Ref))
	}
	c.commit()
	c.common.fresh = false
	for _, n := range c.nodes {
		n.rows.fresh = false
	}
	return c
}

// PutNamespace adds or changes a namespace.
func (c *Compiler) PutNamespace(ns model.Namespace) { c.ids.PutNamespace(ns) }

// DeleteNamespace removes a namespace; what is still in it sees one without
// labels.
func (c *Compiler) DeleteNamespace(name string) { c.ids.DeleteNamespace(name) }

// PutEndpoint adds or changes an endpoint. Its maps and slices are kept and must
// not change afterwards.
func (c *Compiler) PutEndpoint(e model.Endpoint) { c.ids.PutEndpoint(e) }

// DeleteEndpoint removes an endpoint.
func (c *Compiler) DeleteEndpoint(id model.EndpointID) { c.ids.DeleteEndpoint(id) }

// PutPolicy adds or changes a policy. Its slices are kept and must not change
// afterwards.
func (c *Compiler) PutPolicy(p model.Policy, order Order) {
	c.pending[p.Ref] = pendingPolicy{spec: &p, order: order}
}

// DeletePolicy removes a policy.
func (c *Compiler) DeletePolicy(ref model.PolicyRef) {
	c.pending[ref] = pendingPolicy{}
}

// PutAddressGroup adds or changes an address group.
func (c *Compiler) PutAddressGroup(g model.AddressGroup) {
	c.addressGroups[g.Name] = slices.Clone(g.CIDRs)
	c.touchListed(g.Name)
}

// DeleteAddressGroup removes an address group: nobody is in it any more.
func (c *Compiler) DeleteAddressGroup(name string) {
	delete(c.addressGroups, name)
	c.touchListed(name)
}

func (c *Compiler) touchListed(name string) {
	c.relisted[name] = struct{}{}
	if g := c.listed[name]; g != nil {
		c.areas[g] = struct{}{}
	}
}

// SetAPIServer says which addresses the API server has.
func (c *Compiler) SetAPIServer(addrs []netip.Addr) {
	c.apiServer = slices.Clone(addrs)
	if c.apiGroup != nil {
		c.areas[c.apiGroup] = struct{}{}
	}
}

// Common returns the rows that all nodes share, as of the last commit: who has
// which address. They must not be changed.
func (c *Compiler) Common() *snapshot.Set { return c.common.set }

// Node returns the rows that are a node's own, as of the last commit, or nil if
// there is no such node. They must not be changed.
func (c *Compiler) Node(name model.NodeName) *snapshot.Set {
	if n := c.nodes[name]; n != nil {
		return n.rows.set
	}
	return nil
}

// NodeNames lists the nodes that have rows, sorted: every node that exists or
// that hosts an endpoint, and the empty name if something is hosted by no node.
func (c *Compiler) NodeNames() []model.NodeName {
	return slices.Sorted(maps.Keys(c.nodes))
}

// Digest identifies what a node has in all: the common rows and its own.
func (c *Compiler) Digest(name model.NodeName) snapshot.Digest {
	sum := c.common.set.Sum()
	if n := c.nodes[name]; n != nil {
		sum = sum.Combine(n.rows.set.Sum())
	}
	return sum.Digest()
}
