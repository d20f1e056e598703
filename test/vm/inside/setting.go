package inside

// What the host puts into the guest.
const (
	Palisade      = "/bin/palisade"
	Agent         = "/bin/nodeagent"
	DatapathTests = "/bin/datapath.test"
	// ScenariosVariable is the pattern of the scenarios that DatapathTests is to judge.
	ScenariosVariable = "PALISADE_SCENARIOS"
)
