// Package backend keeps the list of servers that a load balancer chooses from: their addresses and weights, which of
// them are up, and why others are not. A request picks one of them by a method of package balance.
//
// It knows no HTTP and opens no connection. A proxy of this module keeps connections to the members of a Set, and other
// protocols can do the same. It looks no name up and checks no member: package discovery, checks and the program do,
// and say so by Apply, by SetAddresses and by a Reason.
//
// # A set and its members
//
//	source ─► Set.Apply ──► Member: ID, weight, addresses, reasons ─► state, immutable ─► View.Pick, on a reactor
//	names  ─► Set.SetAddresses ───────────────┘          ▲
//	health, ejection, drain, operator ─► Down, Up ───────┘
//
// A source gives its whole list, again whenever it changes; the members are the backends of all sources. A member whose
// ID is in the new list stays: what others keep for it, connections and counters, stays with it, also when its weight
// changes. A Follower is told of members that come and go.
//
// A member has a slot, a small number that Views, Tried and tables of reactors use. The slot of a member that has gone
// is given to another one only after others have gone too: a request that is under way may still hold it in its Tried.
//
// # Reasons
//
// A member serves while no Reason against it holds. Each Reason has one writer, so that two writers never undo each
// other's decision: a member that fails its checks and is drained serves again when neither holds. Outliers write the
// Reason Ejected: the users of a Set report to them how requests end.
//
// # Parts
//
// A member that serves may take only a part of its weight: while it starts slowly, as the Policy of the Set says, or
// because it says so itself by PartAgent. Turns and draws go by what is left, keys do not.
//
// # Tiers
//
// Members of a further tier are for requests that no member before them can have. By Policy, tiers share the requests
// while too few members of the first one serve, and members that do not serve are picked while most do not: a panic.
//
// Policy may prefer members of one zone, as far as they can carry the requests, and may limit a process to a subset of
// the members: others are no members, so that nothing connects to them.
//
// # Views
//
// A View is what a route picks from, with turns of its own: two routes to the same members do not disturb each other's
// order. How it picks is a balance.Picker.
//
// # Names
//
// Each address of a host name is a member; package discovery says what they are. A name without one is a member that is
// down by the Reason Names, and one with an address of each family is a member that is reached at both, in turn.
//
// # Threads and ownership
//
// Set, Member and Outliers are safe for any goroutine. One mutex orders the changes of a set; a pick takes no lock:
// it loads one pointer. A View's turns belong to one reactor each.
//
// # Limits
//
// 65535 members, weights up to 65535: a list that exceeds either panics. Eight tiers; 64 addresses of a member can be
// passed over.
package backend
