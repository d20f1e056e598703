// Package corpus holds scenarios that say what policies mean, and reads them for
// every judge there is: package reference, the tables that compile makes, the
// program in the kernel on made-up packets, and pods that talk to each other. One
// scenario, one expectation, every judge.
//
// A scenario is a txtar file: a comment that says what it shows, manifests, and
// a file called expect with one connection per line:
//
//	FROM -> TO PORT [Allow|Deny] [egress=DECISION] [ingress=DECISION] [staged-egress=DECISION] [staged-ingress=DECISION] [family=4|6]
//
// FROM and TO are NAMESPACE/NAME for a pod, node:NAME, ew:NAMESPACE/NAME for an
// external workload, or an address. PORT is as on the command line: 8080/tcp,
// 8/icmp. Every pair of addresses of one family that the two have is a
// connection of its own.
//
// A DECISION is POLICY/RULE, such as cwp/no-metadata/rest or
// pnp/shop/db/(isolated), or a bare implicit rule such as (self); before it
// Allow: or Deny: if that differs from the verdict of the whole, behind it +log
// if the rule asks for a flow record. A direction that is left out must be
// allowed by the implicit default, or, where the end is no subject, because it
// is none. A staged decision that is left out must equal the enforced one.
package corpus
