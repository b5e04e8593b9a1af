// Package submit brings a node's commands into the replicated log exactly once and in order: the Submitter on every node
// numbers and gathers them (group commit) and resends until they are applied; the Gatherer on the leader joins the batches
// of all nodes into raft entries and stamps the time. cluster/DESIGN.md has the argument.
package submit
