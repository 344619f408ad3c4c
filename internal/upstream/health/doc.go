// Package health finds out which members of a backend.Set are well, by asking them again and again.
//
// What it finds out is the reason backend.Health of a member, which it writes alone.
//
// # The parts
//
//	Monitor   what all checks of a process share
//	Watch     the checks of one set            Options say what is asked, and when
//	probe     one member, on one reactor       timer ─► link ─► finding ─► Check ─► Member.Mark
//	Check     decides: a state machine without a clock and without I/O
//
// # When
//
// A member has its place in the interval, by its address and Options.Instance, so that neither many members nor many
// instances ask together. The first result that contradicts its state makes the next checks fast, until Rules.Rise or
// Rules.Fall of them in a row have decided. A check begins at the end of a period, never sooner because the one before
// was refused at once.
//
// # What is not the member's fault
//
// A check that had no answer in time does not count when its reactor was late, or when the member has answered a client
// within the interval. When many members fail together, their verdicts wait for one result more, and the log says so.
//
// # Connections
//
// HTTP and gRPC keep the connection for the next check, ten times; after a failure there is a new one. When a
// connection that was used before breaks before an answer begins, the check tries a new one. Other kinds connect for
// each check.
//
// # Agents
//
// An agent beside a member says in a line what the member is to get. A Watch of the kind Agent asks them. It writes the
// reasons backend.Agent and AgentDrain and the part backend.PartAgent. The words are taken from HAProxy's agent-check.
//
// # Threads and ownership
//
// A Monitor and a Watch are safe for any goroutine. A probe, its connection and its Check belong to the reactor that
// the member's address is assigned to, whichever reactors use the member. There is no goroutine.
//
// # Limits
//
// 256 checks of one reactor connect at once; the next one waits, and that is counted. 64 KiB of an answer are read.
package health
