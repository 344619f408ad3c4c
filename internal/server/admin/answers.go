package admin

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/config/changes"
	"github.com/edge-proxy/edge/internal/config/schema"
)

// Duration is a time span in JSON: "10m", "1h30m", or a number of seconds.
type Duration time.Duration

// MarshalText writes d as time.Duration does.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalJSON reads a string as the files of a configuration have it, or a number of seconds.
func (d *Duration) UnmarshalJSON(text []byte) error {
	s := string(text)
	if unquoted, err := strconv.Unquote(s); err == nil {
		s = unquoted
	}
	t, ok := schema.Duration.Number(strings.TrimSpace(s))
	if !ok {
		return fmt.Errorf("%s is no time: write \"250ms\", \"10m\" or \"1h\"", text)
	}
	*d = Duration(t)
	return nil
}

// List is an answer with several items. It is written item by item.
type List[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next,omitempty" doc:"The cursor of the next page; none: this is the last one."`
}

// Status says how the process does.
type Status struct {
	Version       string          `json:"version" doc:"Of the program."`
	PID           int             `json:"pid"`
	Started       time.Time       `json:"started" doc:"When the process began."`
	State         State           `json:"state"`
	Reactors      int             `json:"reactors" doc:"Event loops."`
	Connections   int             `json:"connections" doc:"Connections of clients that are open."`
	Configuration InForce         `json:"configuration"`
	Log           LogLevel        `json:"log"`
	Listeners     []Listener      `json:"listeners"`
	Upstreams     []UpstreamState `json:"upstreams" doc:"How many backends of each upstream serve."`
	Certificates  []Certificate   `json:"certificates,omitempty" doc:"Those whose files are wrong by now."`
	Admin         []string        `json:"admin" doc:"The addresses of this API."`
	Foreign       []ForeignSocket `json:"foreign" doc:"Sockets of other processes at addresses of this one."`
}

// ForeignSocket is a listening socket of another process, which gets a part of the connections to an address.
type ForeignSocket struct {
	Address string `json:"address"`
	PID     int    `json:"pid,omitempty" doc:"Of the process; none: the user of this one does not see it."`
	Name    string `json:"name,omitempty" doc:"Of the program of the process."`
	Stopped bool   `json:"stopped" doc:"By a signal or a debugger: connections that it gets wait."`
}

// State is what a process does.
type State string

// The states of a process.
const (
	Starting State = "starting"
	Serving  State = "serving"
	Draining State = "draining"
)

// InForce is the configuration that holds.
type InForce struct {
	File    string    `json:"file,omitempty" doc:"The file it was read from; none: the process has no file."`
	Version int       `json:"version" doc:"1 since the start; files that have changed get the next one."`
	Applied time.Time `json:"applied"`
	Differs bool      `json:"differs,omitempty" doc:"The files say otherwise."`
	Tag     string    `json:"-"` // that no other configuration in force has, of this process or another one
}

// Listener is one address that is served.
type Listener struct {
	Name        string `json:"name" doc:"Of the listener; the address where it has none."`
	Address     string `json:"address"`
	TLS         bool   `json:"tls"`
	HTTP3       string `json:"http3,omitempty" enum:"open,waiting,failed,closing" doc:"Its UDP port."`
	Service     bool   `json:"service,omitempty" doc:"It is a service, and does not speak HTTP."`
	Connections int    `json:"connections" doc:"Open now."`
}

// UpstreamState says how many backends serve.
type UpstreamState struct {
	Name     string `json:"name"`
	Serving  int    `json:"serving"`
	Backends int    `json:"backends"`
}

// Route is one route of the configuration.
type Route struct {
	Name      string   `json:"name,omitempty"`
	Host      string   `json:"host,omitempty" doc:"None: any host."`
	Path      string   `json:"path"`
	Match     string   `json:"match" enum:"exact,prefix"`
	Methods   []string `json:"methods,omitempty"`
	Listeners []string `json:"listeners,omitempty" doc:"Those that a request may come by; none: all."`
	Kind      string   `json:"kind" enum:"upstream,status,redirect,hello" doc:"What it leads to."`
	To        string   `json:"to" doc:"The upstream, the status, or the location of the redirect."`
	Weight    int      `json:"weight,omitempty" doc:"Among routes with the same pattern and conditions."`
	Unused    string   `json:"unused,omitempty" doc:"Why it takes no request: off, or shadowed by an equal route."`
}

// Upstream is one set of backends.
type Upstream struct {
	Name     string    `json:"name"`
	Method   string    `json:"method" doc:"Of balancing."`
	Backends []Backend `json:"backends"`
}

// Backend is one member of an upstream.
type Backend struct {
	Address  string       `json:"address"`
	State    BackendState `json:"state"`
	Reasons  []Reason     `json:"reasons,omitempty" doc:"Why it does not serve."`
	Weight   int          `json:"weight" doc:"As the configuration or its source says."`
	Share    float64      `json:"share" doc:"The part of its weight that it takes now, 0 to 1."`
	Tier     int          `json:"tier,omitempty"`
	Zone     string       `json:"zone,omitempty"`
	Requests int          `json:"requests" doc:"Under way."`
	Tunnels  int          `json:"tunnels,omitempty" doc:"Open."`
	Latency  Duration     `json:"latency" doc:"To the head of an answer, the weighted mean of the last answers."`
	Until    *time.Time   `json:"until,omitempty" doc:"When the first of what an operator asked for ends by itself."`
}

// BackendState is whether a backend gets requests.
type BackendState string

// The states of a backend.
const (
	BackendServing  BackendState = "serving"
	BackendDraining BackendState = "draining"
	BackendDown     BackendState = "down"
)

// Reason is why a backend does not serve.
type Reason struct {
	Name  string `json:"name" doc:"checks, ejected, draining, admin, unreachable, dns, agent or agent_drain."`
	Cause string `json:"cause,omitempty" doc:"One word on what gave it, where that is known."`
}

// BackendChange is what an operator asks of a backend.
type BackendChange struct {
	State BackendState `json:"state,omitempty" doc:"serving takes back what was asked for before; none: unchanged."`
	Share *float64     `json:"share,omitempty" doc:"The part of its weight that it gets, 0 to 1; none: unchanged."`
	For   Duration     `json:"for,omitempty" doc:"After this time the change is taken back; none: it stays."`
	Force bool         `json:"force,omitempty" doc:"Take it out of service although no other backend serves."`
}

// Connection is one connection of a client.
type Connection struct {
	ID       string `json:"id"`
	Listener string `json:"listener"`
	Client   string `json:"client" doc:"The address of the peer."`
	Socket   string `json:"socket,omitempty" doc:"The address of the load balancer that has told client."`
	Reactor  int    `json:"reactor"`
	Protocol string `json:"protocol" enum:"h1,h2,h3,handshake,tunnel,tcp,service"`
	State    string `json:"state" enum:"idle,active" doc:"idle: between two requests."`
	TLS      string `json:"tls,omitempty" doc:"The version; none: it is plain."`
	Host     string `json:"host,omitempty" doc:"That the TLS handshake named."`
	Requests uint64 `json:"requests" doc:"Begun on it."`
	Streams  int    `json:"streams,omitempty" doc:"Of HTTP/2 and HTTP/3, open."`
	Queued   int    `json:"queued" doc:"Bytes that the client has not taken."`

	Backend  string   `json:"backend,omitempty" doc:"Of a TCP service, as all below. None: it is not connected yet."`
	BytesIn  int64    `json:"bytes_in,omitempty" doc:"From the client so far."`
	BytesOut int64    `json:"bytes_out,omitempty" doc:"From the backend so far."`
	Age      Duration `json:"age,omitempty" doc:"Since it was accepted."`
	Idle     Duration `json:"idle,omitempty" doc:"Since a byte came from either side."`
}

// Certificate is one certificate that handshakes present.
type Certificate struct {
	Subject string    `json:"subject"`
	Hosts   []string  `json:"hosts" doc:"Names that it is for."`
	Issuer  string    `json:"issuer"`
	Serial  string    `json:"serial" doc:"Hexadecimal."`
	From    time.Time `json:"not_before"`
	Until   time.Time `json:"not_after"`
	State   string    `json:"state" enum:"valid,expiring,expired,early,none"`
	Wrong   string    `json:"wrong,omitempty" doc:"What is wrong with its files by now: it is presented still."`
	Staple  string    `json:"staple,omitempty" doc:"Why no OCSP response is stapled, although a file was named."`
	KeyID   string    `json:"key_id,omitempty" doc:"SHA-256 of the public key."`

	Next  *time.Time `json:"next,omitempty" doc:"When it is ordered or renewed, where edge orders it."`
	Order string     `json:"order_error,omitempty" doc:"Why the last order failed."`
}

// Reloaded is what a reload has done.
type Reloaded struct {
	Applied  bool             `json:"applied"`
	Error    string           `json:"error,omitempty" doc:"Why it was not applied, where the files are right."`
	Try      []string         `json:"try,omitempty" doc:"What may help against the error."`
	Findings []config.Problem `json:"findings,omitempty" doc:"About the files."`
	Version  int              `json:"version" doc:"Of the configuration in force now."`
	Added    []string         `json:"added,omitempty"`
	Removed  []string         `json:"removed,omitempty"`
	Changed  []string         `json:"changed,omitempty"`
	Restart  []string         `json:"restart,omitempty" doc:"Keys that take effect after a restart."`
	Entries  []changes.Entry  `json:"entries,omitempty" doc:"What was added, removed and changed, and how."`
	Differs  bool             `json:"differs,omitempty" doc:"The files say otherwise: the next reload applies those."`
	Tag      string           `json:"-"` // InForce.Tag now
	DryRun   bool             `json:"dry_run,omitempty" doc:"It is what would change: nothing was applied."`
}

func (r *Reloaded) succeeded() bool { return r.Applied || r.DryRun }

// Stop asks the process to end.
type Stop struct {
	Now bool `json:"now,omitempty" doc:"Cut what is in progress."`
}

// Stopping says that the process ends.
type Stopping struct {
	PID   int      `json:"pid"`
	Grace Duration `json:"grace" doc:"How long requests may take."`
}

// LogLevel is how much the error log says.
type LogLevel struct {
	Level string     `json:"level" enum:"debug,info,warn,error"`
	Until *time.Time `json:"until,omitempty" doc:"When the level of the configuration holds again."`
}

// LogChange asks for another level for a time.
type LogChange struct {
	Level string   `json:"level" enum:"debug,info,warn,error"`
	For   Duration `json:"for,omitempty" doc:"Then the level of the configuration holds again; none: 10m."`
}

// Configuration is the text of the configuration in force, as one tree, without its secrets.
type Configuration struct {
	InForce
	Values any `json:"values" doc:"All files merged, as they are written; secrets are \"(hidden)\"."`
}

// Problem is the answer to a request that failed.
type Problem struct {
	Error string `json:"error" doc:"What is wrong, for people."`
	Code  string `json:"code" doc:"One word for programs."`
}
