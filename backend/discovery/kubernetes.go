package discovery

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/url"
	"os"
	"path"
	"strconv"
	"time"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/backend/registry"
)

// KubeFolder is where a pod finds token, ca.crt and namespace.
const KubeFolder = "/var/run/secrets/kubernetes.io/serviceaccount"

// How a Kubernetes API server is asked.
const (
	kubePage   = "500"           // slices of one answer
	kubeWatch  = 5 * time.Minute // a watch lasts so long, and up to twice that
	kubeToken  = time.Minute     // a token is read again
	statusGone = 410             // the version is forgotten

	kubePagesMax     = 200            // of a list
	kubeEndpointsMax = 2 * membersMax // with the slices that they are in
)

// kubeSource finds the endpoints of a service of Kubernetes: its EndpointSlices, listed and watched.
// Owned by the goroutine of its Runner.
type kubeSource struct {
	namespace, service, port string // port is a name or a number; "": the only one
	api                      string // "": as for the pod
	tokenFile, ca            string // "": as for the pod
}

// The objects of discovery.k8s.io/v1.
type (
	kubeMeta struct {
		Name     string `json:"name"`
		Version  string `json:"resourceVersion"`
		Continue string `json:"continue"`
	}
	kubeSlice struct {
		Meta      kubeMeta       `json:"metadata"`
		Kind      string         `json:"addressType"`
		Endpoints []kubeEndpoint `json:"endpoints"`
		Ports     []struct {
			Name     string `json:"name"`
			Protocol string `json:"protocol"`
			Port     int    `json:"port"`
		} `json:"ports"`
	}
	kubeEndpoint struct {
		Addresses  []string `json:"addresses"`
		Zone       string   `json:"zone"`
		Conditions struct {
			Ready       *bool `json:"ready"`
			Serving     *bool `json:"serving"`
			Terminating *bool `json:"terminating"`
		} `json:"conditions"`
	}
	kubeList struct {
		Meta  kubeMeta    `json:"metadata"`
		Items []kubeSlice `json:"items"`
	}
	kubeEvent struct {
		Type   string          `json:"type"`
		Object json.RawMessage `json:"object"`
	}
	kubeStatus struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
	}
)

var (
	errNoCluster = errors.New("this is no pod of Kubernetes: say api=https://host:port")
	errNoEvents  = errors.New("the watch ended at once")
)

// Run lists the slices and watches them from there. Where the server has forgotten a version (410, as a status or as
// an event), Run lists the slices again, later each time that this comes soon.
func (s *kubeSource) Run(ctx context.Context, publish func([]backend.Spec, error)) error {
	r, err := s.connect()
	if err != nil {
		return err
	}
	defer r.Close()
	var wait backoff
	for {
		begun := time.Now()
		var status *registry.StatusError
		if err := s.listAndWatch(ctx, r, publish); !errors.As(err, &status) || status.Code != statusGone {
			return err
		}
		if time.Since(begun) > kubeWatch {
			wait.reset()
		}
		if !sleep(ctx, wait.next()) {
			return ctx.Err()
		}
	}
}

// listAndWatch ends with an error. A watch that ended is begun again where it was.
func (s *kubeSource) listAndWatch(ctx context.Context, r *registry.Client, publish func([]backend.Spec, error)) error {
	query := url.Values{"labelSelector": {"kubernetes.io/service-name=" + s.service}}
	where := "/apis/discovery.k8s.io/v1/namespaces/" + url.PathEscape(s.namespace) + "/endpointslices?"
	slices, version, err := listSlices(ctx, r, where, query)
	if err != nil {
		return err
	}
	tell := func() {
		list, err := s.specs(slices)
		publish(list, err)
	}
	tell()
	query.Set("watch", "1")
	query.Set("allowWatchBookmarks", "true")
	for {
		query.Set("resourceVersion", version)
		query.Set("timeoutSeconds", strconv.Itoa(int((kubeWatch + rand.N(kubeWatch)).Seconds())))
		events, err := r.Open(ctx, "GET", where+query.Encode(), nil)
		if err != nil {
			return err
		}
		begun := time.Now()
		n, err := s.watchSlices(events, slices, &version, tell)
		events.Close()
		if err != nil {
			return err
		}
		if n == 0 && time.Since(begun) < time.Second {
			return errNoEvents // kubernetes#104171: a server that ends each watch must not be flooded
		}
	}
}

// connect finds the server, and the rights that the pod has there.
func (s *kubeSource) connect() (*registry.Client, error) {
	api, ca, tokenFile := s.api, s.ca, s.tokenFile
	if api == "" {
		host, port := os.Getenv("KUBERNETES_SERVICE_HOST"), os.Getenv("KUBERNETES_SERVICE_PORT")
		if host == "" || port == "" {
			return nil, errNoCluster
		}
		api = "https://" + net.JoinHostPort(host, port)
		ca = cmp.Or(ca, path.Join(KubeFolder, "ca.crt"))
		tokenFile = cmp.Or(tokenFile, path.Join(KubeFolder, "token"))
	}
	r, err := registry.NewClient([]string{api}, registry.ClientOptions{Agent: agent, CA: ca})
	if err != nil || tokenFile == "" {
		return r, err
	}
	var token string
	var read time.Time
	r.Token = func() (string, string, error) {
		if time.Since(read) < kubeToken {
			return "Authorization", token, nil
		}
		text, err := registry.Secret(tokenFile, "") // it is replaced before it ends
		token, read = "Bearer "+text, time.Now()
		return "Authorization", token, err
	}
	return r, nil
}

// listSlices returns all slices by name, and the version to watch from.
func listSlices(ctx context.Context, r *registry.Client, where string, query url.Values) (
	map[string]*kubeSlice, string, error) {
	slices := make(map[string]*kubeSlice)
	page := url.Values{"limit": {kubePage}}
	maps.Copy(page, query)
	for range kubePagesMax {
		var list kubeList
		if _, err := r.Call(ctx, "GET", where+page.Encode(), nil, &list); err != nil {
			return nil, "", err
		}
		for i := range list.Items {
			slices[list.Items[i].Meta.Name] = &list.Items[i]
		}
		if err := checkSliceCount(slices); err != nil {
			return nil, "", err
		}
		if list.Meta.Continue == "" {
			return slices, list.Meta.Version, nil
		}
		page.Set("continue", list.Meta.Continue)
	}
	return nil, "", fmt.Errorf("more than %d pages of slices", kubePagesMax)
}

// checkSliceCount returns an error where there are more slices than a service can have: empty ones and endpoints that
// are not ready count.
func checkSliceCount(slices map[string]*kubeSlice) error {
	n := len(slices)
	for _, slice := range slices {
		n += len(slice.Endpoints)
	}
	if n > kubeEndpointsMax {
		return fmt.Errorf("%d slices and endpoints, more than %d", n, kubeEndpointsMax)
	}
	return nil
}

// watchSlices takes events until the watch ends. It returns how many there were. The end is no error, unless the
// version is forgotten.
func (s *kubeSource) watchSlices(
	events *registry.Stream, slices map[string]*kubeSlice, version *string, changed func(),
) (n int, err error) {
	for ; ; n++ {
		var e kubeEvent
		if err := events.Next(&e); err != nil {
			return n, nil // the server ends a watch when it likes
		}
		if e.Type == "ERROR" {
			var status kubeStatus
			if err := json.Unmarshal(e.Object, &status); err != nil {
				return n, err
			}
			return n, &registry.StatusError{Code: status.Code, Text: status.Message}
		}
		var slice kubeSlice
		if err := json.Unmarshal(e.Object, &slice); err != nil {
			return n, err
		}
		*version = slice.Meta.Version
		switch e.Type {
		case "ADDED", "MODIFIED":
			slices[slice.Meta.Name] = &slice
			if err := checkSliceCount(slices); err != nil {
				return n, err
			}
		case "DELETED":
			delete(slices, slice.Meta.Name)
		default: // BOOKMARK: the version alone
			continue
		}
		changed()
	}
}

// specs are the backends of slices: the endpoints that are ready, or, when none is, those that still serve while they
// end (KEP-1669).
func (s *kubeSource) specs(slices map[string]*kubeSlice) ([]backend.Spec, error) {
	var ready, ending []backend.Spec
	var none error // says why there is none, if there is none
	seen := make(map[string]bool)
	for _, slice := range slices {
		port, err := s.portOf(slice)
		if err != nil {
			return nil, err
		}
		if port == 0 || slice.Kind == "FQDN" {
			none = noneBecause("slice " + slice.Meta.Name + " has names in place of addresses, or lacks the port")
			continue
		}
		for i := range slice.Endpoints {
			e := &slice.Endpoints[i]
			if len(e.Addresses) == 0 {
				continue
			}
			b := backend.Spec{Address: net.JoinHostPort(e.Addresses[0], strconv.Itoa(port)), Zone: e.Zone}
			c := &e.Conditions
			switch {
			case seen[b.Address]: // a slice that is being split stands twice
			case c.Ready == nil || *c.Ready:
				ready = append(ready, b)
				seen[b.Address] = true
			case c.Serving != nil && *c.Serving && c.Terminating != nil && *c.Terminating:
				ending = append(ending, b)
			default:
				none = noneBecause("endpoint " + b.Address + " is not ready")
			}
		}
	}
	if len(ready) == 0 {
		ready = ending
	}
	return ready, none
}

// portOf returns the port of a slice that the source names, 0 when the slice has none such.
func (s *kubeSource) portOf(slice *kubeSlice) (int, error) {
	number, _ := strconv.Atoi(s.port)
	if s.port == "" && len(slice.Ports) > 1 {
		return 0, fmt.Errorf("slice %s has %d ports: name one, k8s://%s/%s:port", slice.Meta.Name, len(slice.Ports),
			s.namespace, s.service)
	}
	for _, p := range slice.Ports {
		if p.Protocol != "" && p.Protocol != "TCP" {
			continue
		}
		if s.port == "" || p.Name == s.port || number > 0 && p.Port == number {
			return p.Port, nil
		}
	}
	return 0, nil
}
