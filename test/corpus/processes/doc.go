// Package processes holds scenarios that say what policies about processes mean,
// beside those of package corpus, which are about connections.
//
// A scenario is a txtar file: a comment that says what it shows, manifests, and a
// file called expect with one operation per line:
//
//	WHO OPERATION OBJECT [KEY=VALUE ...] Allow|Deny|Kill DECISION [staged=VERDICT:DECISION]
//
// WHO is NAMESPACE/POD:CONTAINER, or node:NAME for processes outside of pods, or
// ew:NAMESPACE/NAME for those of the host that is an external workload.
// OPERATION and OBJECT are one of
//
//	exec PATH, map PATH                 the section executables
//	Read PATH, Rename,Create PATH ...   files, by the API's names
//	Mount -, Capability:NET_ADMIN - ... privileges, by the API's names
//	Connect ADDRESS:PORT/PROTOCOL ...   network, by the API's names
//
// The path (long) is one that cannot be resolved. Keys are origin (Image unless
// given), by (what the process executes), after (what was executed before,
// separated by commas), deep=yes, owned=yes, directory=yes, and args (separated
// by commas, without the program's own name).
//
// A DECISION is POLICY/SECTION/RULE, such as rtp/shop/db/executables/shell, or a
// bare implicit rule. A staged decision that is left out equals the enforced one.
package processes
