package discovery

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/backend/registry"
)

// dockerSource finds the containers that have a label, by the API of Docker, which podman has too.
// Owned by the goroutine of its Runner; one more reads the events.
type dockerSource struct {
	label   string // name, or name=value
	socket  string
	network string // whose addresses count; "": the first one by name
	port    int    // of the containers; 0: what they say, see dockerPort
}

type dockerContainer struct {
	ID     string `json:"Id"`
	Names  []string
	State  string
	Status string
	Labels map[string]string
	Ports  []struct {
		PrivatePort int
		Type        string
	}
	HostConfig      struct{ NetworkMode string }
	NetworkSettings struct {
		Networks map[string]struct {
			IPAddress         string
			GlobalIPv6Address string
		}
	}
}

// dockerSocket is where Docker listens. Podman's is /run/podman/podman.sock.
const dockerSocket = "/var/run/docker.sock"

// How often containers are listed without an event, and how long an answer may take.
const (
	dockerFirstPoll = time.Second // after the first time
	dockerPoll      = 30 * time.Second
)

// dockerEvents are the events after which containers are listed again.
var dockerEvents = []string{"start", "die", "stop", "pause", "unpause", "kill", "destroy", "remove", "died",
	"health_status", "connect", "disconnect"}

// Run lists the containers at the start, after each event, and from time to time: the head of the stream of events may
// come with the first of them (podman), so that no client knows from when on they are told.
func (s *dockerSource) Run(ctx context.Context, publish func([]backend.Spec, error)) error {
	ctx, cancel := context.WithCancel(ctx)
	r, err := registry.NewClient([]string{"http://docker"}, registry.ClientOptions{Agent: agent, Socket: s.socket})
	if err != nil {
		cancel()
		return err
	}
	defer r.Close()
	news, ended := make(chan struct{}, 1), make(chan error, 1)
	var following sync.WaitGroup
	following.Go(func() { ended <- s.watchEvents(ctx, news) })
	defer following.Wait()
	defer cancel()
	poll := dockerFirstPoll
	for {
		var all []dockerContainer
		query := "/containers/json?" + filters(map[string][]string{"label": {s.label}, "status": {"running"}})
		if _, err := r.Call(ctx, "GET", query, nil, &all); err != nil {
			return err
		}
		publish(s.specs(all))
		select {
		case <-news:
		case <-time.After(poll):
			poll = dockerPoll
		case err := <-ended:
			return err
		}
	}
}

// watchEvents sends to news when an event matters, until the stream ends.
func (s *dockerSource) watchEvents(ctx context.Context, news chan<- struct{}) error {
	r, err := registry.NewClient([]string{"http://docker"}, registry.ClientOptions{
		Agent: agent, Socket: s.socket, Wait: registry.Never,
	})
	if err != nil {
		return err
	}
	defer r.Close()
	events, err := r.Open(ctx, "GET", "/events?"+filters(map[string][]string{"type": {"container", "network"}}), nil)
	if err != nil {
		return err
	}
	defer events.Close()
	for {
		var e struct{ Action, Status string }
		if err := events.Next(&e); err != nil {
			return fmt.Errorf("events: %w", err)
		}
		action, _, _ := strings.Cut(e.Action, ":")
		if slices.Contains(dockerEvents, action) || slices.Contains(dockerEvents, e.Status) {
			select {
			case news <- struct{}{}:
			default: // it is told already
			}
		}
	}
}

// filters is the parameter "filters" of a query.
func filters(by map[string][]string) string {
	text, _ := json.Marshal(by) // of strings, which cannot fail
	return url.Values{"filters": {string(text)}}.Encode()
}

// specs are the backends of containers: an address in a network, with the port and the weight of their labels. A
// container that is starting or unhealthy by a check of its own is none. Where none is left, the error says why one of
// them was left out.
func (s *dockerSource) specs(all []dockerContainer) ([]backend.Spec, error) {
	var list []backend.Spec
	var failed error
	var leftOut []string
	for i := range all {
		c := &all[i]
		if c.State != "" && c.State != "running" || strings.Contains(c.Status, "(unhealthy)") ||
			strings.Contains(c.Status, "starting)") { // Docker has "(health: starting)", podman "(starting)"
			leftOut = append(leftOut, cmp.Or(strings.Join(c.Names, " "), c.ID)+" is "+cmp.Or(c.Status, c.State))
			continue
		}
		host := s.addressOf(c)
		port := dockerPort(c, s.port)
		weight, err := strconv.Atoi(cmp.Or(c.Labels["edge.weight"], "1"))
		if host == "" || port == 0 || err != nil || weight < 1 || weight > weightMax {
			failed = fmt.Errorf("container %.12s has no address, no port that is told, or a wrong weight", c.ID)
			continue
		}
		list = append(list, backend.Spec{Address: net.JoinHostPort(host, strconv.Itoa(port)), Weight: weight,
			Zone: c.Labels["edge.zone"]})
	}
	if len(list) > 0 {
		return list, nil
	}
	why := "containers that are not ready: " + cmp.Or(strings.Join(firstFew(leftOut), ", "), "none")
	return nil, cmp.Or(failed, error(noneBecause(why)))
}

// addressOf returns the address of a container, "" for none.
func (s *dockerSource) addressOf(c *dockerContainer) string {
	if c.HostConfig.NetworkMode == "host" {
		return "127.0.0.1"
	}
	for _, name := range slices.Sorted(maps.Keys(c.NetworkSettings.Networks)) {
		n := c.NetworkSettings.Networks[name]
		switch {
		case s.network != "" && name != s.network:
		case n.IPAddress != "":
			return n.IPAddress
		case n.GlobalIPv6Address != "":
			return n.GlobalIPv6Address
		}
	}
	return ""
}

// dockerPort returns the port of a container: the port of the source, of the label edge.port, or the only port that it
// exposes; 0 for none.
func dockerPort(c *dockerContainer, port int) int {
	if text := c.Labels["edge.port"]; text != "" {
		port, _ = strconv.Atoi(text)
		return port
	}
	if port > 0 {
		return port
	}
	for _, p := range c.Ports {
		switch {
		case p.Type != "tcp" && p.Type != "":
		case port > 0 && port != p.PrivatePort:
			return 0
		default:
			port = p.PrivatePort
		}
	}
	return port
}
