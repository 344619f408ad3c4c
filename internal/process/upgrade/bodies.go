package upgrade

// Build is one program as two processes compare it: a file that changed has another one.
type Build struct {
	Version string `json:"version"`
	ID      string `json:"id"` // SHA-256 of the file, in hexadecimal
}

// HelloBody is the body of HELLO.
type HelloBody struct {
	Min      int   `json:"min"` // versions of the protocol
	Max      int   `json:"max"`
	Build    Build `json:"build"`
	PID      int   `json:"pid"`
	Reactors int   `json:"reactors"`
	Free     int   `json:"free"` // descriptors that it may still open
}

// OfferBody is the body of OFFER. Its descriptors are memory files, in the order of Files.
type OfferBody struct {
	Version    int      `json:"version"`    // of the protocol, from here on
	Generation int      `json:"generation"` // of the new process: how many have taken over before
	Give       string   `json:"give"`       // GiveIdle or GiveNone
	Sockets    int      `json:"sockets"`
	Conns      int      `json:"conns"`  // that may come by GIVE, about
	Before     int      `json:"before"` // processes that drain, from earlier upgrades
	Files      []string `json:"files"`
}

// Values of OfferBody.Give: whether idle connections are handed over too.
const (
	GiveIdle = "idle"
	GiveNone = "none"
)

// Names of the memory files that version 1 knows. Others are ignored.
const (
	ManifestFile = "manifest" // a Manifest, as JSON
	SecretsFile  = "secrets"  // a Secrets, as JSON
)

// Manifest says what the sockets of SOCKETS are, in their order.
type Manifest struct {
	Sockets []Socket `json:"sockets"`
}

// Socket is the identity of a listening socket. The new process matches it by Network, Address and V6Only; Name is for
// people.
type Socket struct {
	Network string `json:"network"` // "tcp", "unix", "udp"
	Address string `json:"address"` // as getsockname(2) says it
	V6Only  bool   `json:"v6only"`
	Index   int    `json:"index"`   // in the group of the address
	Purpose string `json:"purpose"` // a socket of an unknown one is left alone
	Name    string `json:"name"`

	AnyPort bool   `json:"any_port,omitempty"` // the configuration says port 0
	Held    bool   `json:"held,omitempty"`     // by systemd, which opened it
	Dev     uint64 `json:"dev,omitempty"`      // of the file of a Unix socket that edge has made
	Ino     uint64 `json:"ino,omitempty"`
}

// Secrets are keys that the new process goes on with, so that clients resume their sessions.
type Secrets struct {
	TicketKeys [][]byte `json:"ticket_keys"`    // 32 bytes each, the newest first
	QUIC       []byte   `json:"quic,omitempty"` // 32 bytes: the source of connection ids and tokens
}

// SocketsBody is the body of SOCKETS: its descriptors are the sockets First to First+Count-1 of the manifest.
type SocketsBody struct {
	First int `json:"first"`
	Count int `json:"count"`
}

// ReadyBody is the body of READY.
type ReadyBody struct {
	Claims []int `json:"claims"` // sockets that the configuration of the new process names
}

// GoBody is the body of GO.
type GoBody struct{}

// ServingBody is the body of SERVING.
type ServingBody struct {
	PID int `json:"pid"`
}

// GiveBody is the body of GIVE: one element per descriptor in each of the lists.
type GiveBody struct {
	Kind      string   `json:"kind"`      // "h1"
	Listeners []int    `json:"listeners"` // index of a socket in the manifest
	Requests  []uint32 `json:"requests"`  // answered so far
	Ages      []int64  `json:"ages"`      // milliseconds since the last answer, or since it was accepted
}

// KindH1 is the kind of plain connections of HTTP/1 between two requests.
const KindH1 = "h1"

// OwnBody is the body of OWN.
type OwnBody struct {
	Count int `json:"count"` // of descriptors that came
}

// DropBody is the body of DROP.
type DropBody struct {
	Socket int `json:"socket"`
}

// DrainBody is the body of DRAIN.
type DrainBody struct {
	Left   map[string]int `json:"left"`   // connections, by kind
	Before int            `json:"before"` // processes that drain, from earlier upgrades
}

// ByeBody is the body of BYE.
type ByeBody struct{}

// WorkingBody is the body of WORKING.
type WorkingBody struct {
	Step string `json:"step"`
}

// AskBody is the body of ASK.
type AskBody struct {
	Binary string `json:"binary"`          // an absolute path; "": the one of the running process
	Now    bool   `json:"now,omitempty"`   // where too many processes drain, end the oldest one
	Force  bool   `json:"force,omitempty"` // take the files, also where they differ from what runs
}

// CutBody is the body of CUT.
type CutBody struct {
	Before int `json:"before"` // 0: the receiver; 1: the process before it, and so on
}

// PassBody is the body of PASS.
type PassBody struct {
	Passed bool `json:"passed"` // false: the sender serves again
}

// RefuseBody is the body of REFUSE.
type RefuseBody struct {
	Reason string `json:"reason"`
}
