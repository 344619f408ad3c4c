package registry

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/edge-proxy/edge/internal/discovery/locator"
)

// consulRegistry keeps an entry as a service of an agent of Consul, with a check of that agent: of TTL unless the entry
// has a path to ask for.
// Owned by the goroutine of its Registration.
type consulRegistry struct {
	base, service string
	tags          []string
	ca, tokenFile string
	owner         string // in the Meta of what this one registers

	client *Client
	id     string // of what may be registered; "": nothing is
	put    Entry  // by the last registration; compared with what is to be put
}

// deregisterMin is the least time after which Consul forgets an instance whose check fails.
const deregisterMin = time.Minute

// ownerKey is the key of Meta that tells registrations of several processes apart.
const ownerKey = "edge-owner"

type (
	consulCheck struct {
		Name       string
		TTL        string `json:",omitempty"`
		HTTP       string `json:",omitempty"`
		Interval   string `json:",omitempty"`
		Status     string
		Deregister string `json:"DeregisterCriticalServiceAfter"`
	}
	consulService struct {
		ID, Name string
		Address  string   `json:",omitempty"`
		Tags     []string `json:",omitempty"`
		Port     int
		Meta     map[string]string
		Weights  struct{ Passing, Warning int }
		Check    consulCheck
	}
)

func newConsul(l *locator.Locator) *consulRegistry {
	g := &consulRegistry{base: Bases(l)[0], service: l.Name, ca: l.Params.Get("ca"),
		tokenFile: l.Params.Get("token_file"), owner: newOwner()}
	if tag := l.Params.Get("tag"); tag != "" {
		g.tags = []string{tag}
	}
	return g
}

// Put registers the service with the agent, or reports that its check passes. What the agent has forgotten is
// registered again.
func (g *consulRegistry) Put(ctx context.Context, e *Entry) (string, error) {
	if g.client == nil {
		c, err := NewClient([]string{g.base}, ClientOptions{Agent: agent, CA: g.ca})
		if err != nil {
			return "", err
		}
		c.Token = func() (string, string, error) {
			token, err := Secret(g.tokenFile, "CONSUL_HTTP_TOKEN")
			return "X-Consul-Token", token, err
		}
		g.client = c
	}
	if g.id != "" && *e == g.put {
		err := g.renew(ctx)
		var status *StatusError
		if err == nil || !errors.As(err, &status) {
			return e.Address, err
		}
	}
	return e.Address, g.register(ctx, e)
}

// renew tells the agent that the instance serves, for another TTL. Where the agent asks the instance itself, renew
// only looks whether the agent still has it.
func (g *consulRegistry) renew(ctx context.Context) error {
	method, path := "PUT", "/v1/agent/check/pass/service:"
	if g.put.Check != "" {
		method, path = "GET", "/v1/agent/service/"
	}
	_, err := g.client.Call(ctx, method, path+url.PathEscape(g.id), nil, nil)
	return err
}

var errConsulAddress = errors.New("Consul takes host:port alone")

// register tells the agent of the service. Without a host it has the address of the agent.
func (g *consulRegistry) register(ctx context.Context, e *Entry) error {
	host, port, err := net.SplitHostPort(e.Address)
	n, wrong := strconv.Atoi(port)
	if err != nil || wrong != nil {
		return errConsulAddress
	}
	s := consulService{ID: e.Name, Name: g.service, Address: host, Port: n, Tags: g.tags,
		Meta: map[string]string{ownerKey: g.owner}}
	if s.ID == "" {
		s.ID = g.service + "-" + strings.TrimPrefix(e.Address, ":")
	}
	if e.Zone != "" {
		s.Meta["zone"] = e.Zone
	}
	s.Weights.Passing, s.Weights.Warning = e.Weight, e.Weight
	s.Check = consulCheck{Name: "edge", TTL: e.TTL.String(), Status: "passing",
		Deregister: max(deregisterMin, 2*e.TTL).String()}
	if e.Check != "" {
		host = cmp.Or(host, "127.0.0.1") // the agent is on the machine of its services
		s.Check.HTTP = "http://" + net.JoinHostPort(host, port) + e.Check
		s.Check.TTL, s.Check.Interval, s.Check.Status = "", (e.TTL / renewals).String(), "critical"
	}
	g.id, g.put = s.ID, *e // also when the answer is lost
	_, err = g.client.Call(ctx, "PUT", "/v1/agent/service/register?replace-existing-checks=true", s, nil)
	if err != nil {
		g.put = Entry{}
	}
	return err
}

// Withdraw takes the service from the agent, unless another process has registered one with its ID.
func (g *consulRegistry) Withdraw(ctx context.Context) error {
	if g.id == "" {
		return nil
	}
	defer g.client.Close()
	var has struct{ Meta map[string]string }
	id := url.PathEscape(g.id)
	_, err := g.client.Call(ctx, "GET", "/v1/agent/service/"+id, nil, &has)
	if isMissing(err) || err == nil && has.Meta[ownerKey] != g.owner {
		return nil
	}
	if err == nil {
		_, err = g.client.Call(ctx, "PUT", "/v1/agent/service/deregister/"+id, nil, nil)
	}
	return err
}
