package discovery

import (
	"cmp"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/backend/registry"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

// registryFake is what the fakes of registries share: values by key, and the changes of them in order, each with a
// version. Safe for any goroutine.
type registryFake struct {
	mu       sync.Mutex
	values   map[string]string
	changes  []change
	version  int64         // of the last change
	oldest   int64         // changes before it are forgotten
	news     chan struct{} // closed with each change
	cut      chan struct{} // closed to end all streams
	requests []string
	refuse   int // the status of all answers; 0: they are good
}

type change struct {
	version    int64
	key, value string // no value: it was removed
	first      bool
}

func newRegistry() *registryFake {
	return &registryFake{values: map[string]string{}, version: 1, news: make(chan struct{}), cut: make(chan struct{})}
}

// put sets a value; an empty one removes the key.
func (r *registryFake) put(key, value string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.version++
	_, known := r.values[key]
	r.changes = append(r.changes, change{r.version, key, value, !known})
	if r.values[key] = value; value == "" {
		delete(r.values, key)
	}
	close(r.news)
	r.news = make(chan struct{})
}

// endStreams ends all streams, as a server does that starts anew, and forgets the changes up to now.
func (r *registryFake) endStreams(forget bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if forget {
		r.version += 10
		r.oldest = r.version
	}
	close(r.cut)
	r.cut = make(chan struct{})
}

func (r *registryFake) setRefuse(status int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refuse = status
}

// asked returns how many requests had a part in their line.
func (r *registryFake) asked(part string) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, line := range r.requests {
		if strings.Contains(line, part) {
			n++
		}
	}
	return n
}

// handle notes a request and refuses it when that is asked for.
func (r *registryFake) handle(h http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		r.mu.Lock()
		r.requests = append(r.requests, q.Method+" "+q.URL.RequestURI())
		refuse := r.refuse
		r.mu.Unlock()
		if refuse != 0 {
			http.Error(w, "not now", refuse)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		h(w, q)
	})
}

// stream writes each change after a version as write says it, until the client or the registry ends it.
func (r *registryFake) stream(w http.ResponseWriter, q *http.Request, after int64, write func(change) any) {
	flush := w.(http.Flusher).Flush
	if q.URL.Path != "/events" { // podman sends the head with the first event
		w.WriteHeader(http.StatusOK)
		flush()
	}
	r.mu.Lock()
	cut, forgotten := r.cut, after < r.oldest
	r.mu.Unlock()
	if forgotten { // it was asked for just before the streams ended
		return
	}
	for {
		r.mu.Lock()
		news := r.news
		var next []change
		for _, c := range r.changes {
			if c.version > after {
				next = append(next, c)
			}
		}
		r.mu.Unlock()
		for _, c := range next {
			after = c.version
			if v := write(c); v != nil {
				_ = json.NewEncoder(w).Encode(v)
			}
		}
		if len(next) > 0 {
			flush()
		}
		select {
		case <-q.Context().Done():
			return
		case <-cut:
			return
		case <-news:
		}
	}
}

// serve runs a fake until the test ends.
func serve(t *testing.T, h http.Handler) string {
	t.Helper()
	return testutil.ServeHTTP(t, testutil.Listen(t), h.ServeHTTP)
}

// etcd is the JSON gateway of etcd over a registry.
func etcd(r *registryFake) http.Handler {
	within := func(key string, of etcdRange) bool { return key >= string(of.Key) && key < string(of.RangeEnd) }
	return r.handle(func(w http.ResponseWriter, q *http.Request) {
		switch q.URL.Path {
		case "/v3/kv/range":
			var of etcdRange
			if err := json.NewDecoder(q.Body).Decode(&of); err != nil {
				http.Error(w, err.Error(), 400)
				return
			}
			r.mu.Lock()
			defer r.mu.Unlock()
			found := etcdFound{Header: etcdHeader{r.version}}
			for key, value := range r.values {
				if within(key, of) {
					found.Pairs = append(found.Pairs, etcdPair{Key: []byte(key), Value: []byte(value)})
				}
			}
			_ = json.NewEncoder(w).Encode(found)
		case "/v3/watch":
			var create struct {
				Of etcdRange `json:"create_request"`
			}
			if err := json.NewDecoder(q.Body).Decode(&create); err != nil {
				http.Error(w, err.Error(), 400)
				return
			}
			_, _ = fmt.Fprintln(w, `{"result":{"header":{"revision":"1"},"created":true}}`)
			r.mu.Lock()
			oldest := r.oldest
			r.mu.Unlock()
			if create.Of.Start <= oldest {
				_, _ = fmt.Fprintf(w, `{"result":{"canceled":true,"compact_revision":"%d",`+
					`"cancel_reason":"required revision has been compacted"}}`, oldest)
				return
			}
			r.stream(w, q, create.Of.Start-1, func(c change) any {
				if !within(c.key, create.Of) {
					return nil
				}
				event := map[string]any{"kv": etcdPair{Key: []byte(c.key), Value: []byte(c.value)}}
				if c.value == "" {
					event["type"] = "DELETE"
				}
				return map[string]any{"result": map[string]any{"events": []any{event}}}
			})
		default:
			http.NotFound(w, q)
		}
	})
}

// A registry names no Unix socket: others write to it, and a program that has a socket trusts the user of this process.
func TestRegistry_namesNoSocket(t *testing.T) {
	var log testutil.Output
	testutil.EventLog(t, slog.NewTextHandler(&log, nil))
	r := newRegistry()
	r.put("users/1", "10.0.0.1:80")
	r.put("users/2", "unix:/run/edge/admin.sock")
	r.put("users/3", `{"Addr": "unix:/run/docker.sock"}`)
	set, _ := follow(t, "etcd://"+serve(t, etcd(r))+"/users/")
	becomes(t, set, "80")
	const want = `backends=2 error="\"unix:/run/`
	if text := log.String(); !strings.Contains(text, "discovery leaves members out") || !strings.Contains(text, want) {
		t.Errorf("no %s in %s", want, text)
	}
}

func TestEtcd_isFollowed(t *testing.T) {
	t.Parallel()
	r := newRegistry()
	r.put("users/a", "10.0.0.1:1")
	r.put("users/b", `{"Op":0,"Addr":"10.0.0.1:2","Metadata":null}`)
	r.put("users/c", "nonsense")
	r.put("userz", "10.0.0.1:9")
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	testutil.Must(t, err)
	_ = dead.Close()
	set, _ := follow(t, "etcd://"+dead.Addr().String()+","+serve(t, etcd(r))+"/users/")
	becomes(t, set, "1 2") // by the second server
	stays := set.Members()[0]
	r.put("users/c", `{"address":"10.0.0.1:3","weight":7,"zone":"b"}`)
	becomes(t, set, "1 2 3")
	r.put("users/b", "")
	becomes(t, set, "1 3")
	r.endStreams(false)
	r.put("users/d", "10.0.0.1:4 weight=2")
	becomes(t, set, "1 3 4")
	r.setRefuse(503)
	before := r.asked("range")
	r.endStreams(true)
	testutil.Eventually(t, testutil.Patience, func() bool { return r.asked("range") > before })
	if members(set) != "1 3 4" {
		t.Error("an error took members away")
	}
	r.setRefuse(0)
	r.put("users/d", "")
	becomes(t, set, "1 3")
	if set.Members()[0] != stays {
		t.Error("a member that stays is another one")
	}
}

// A registry that goes on adding what is no backend ends its watch: that would fill the memory.
func TestEtcd_saysThatPrefixesHaveNoSlash(t *testing.T) {
	for _, tc := range []struct{ prefix, value, want string }{
		{"users/", "", "no key has the prefix: where keys begin with a slash, write two slashes after the port"},
		{"/users/", "", ""},
		{"users/", "10.0.0.1:1", "10.0.0.1:1*0"},
	} {
		values := map[string]*etcdPair{}
		if tc.value != "" {
			values["users/1"] = &etcdPair{Value: []byte(tc.value)}
		}
		if got := describe((&etcdSource{prefix: tc.prefix}).specs(values)); got != tc.want {
			t.Errorf("%s: %s, want %s", tc.prefix, got, tc.want)
		}
	}
}

func TestKubernetes_saysWhyThereIsNone(t *testing.T) {
	for _, tc := range []struct{ slice, want string }{
		{`{"metadata":{"name":"a"},"ports":[{"port":80}],"endpoints":[{"addresses":["10.0.0.1"],
			"conditions":{"ready":false}}]}`, "endpoint 10.0.0.1:80 is not ready"},
		{`{"metadata":{"name":"a"},"ports":[{"port":81}],"endpoints":[{"addresses":["10.0.0.1"]}]}`,
			"slice a has names in place of addresses, or lacks the port"},
	} {
		var slice kubeSlice
		testutil.Must(t, json.Unmarshal([]byte(tc.slice), &slice))
		if got := describe((&kubeSource{port: "80"}).specs(map[string]*kubeSlice{"a": &slice})); got != tc.want {
			t.Errorf("%s, want %s", got, tc.want)
		}
	}
}

func TestEtcd_isBounded(t *testing.T) {
	r := newRegistry()
	r.put("users/a", "10.0.0.1:1")
	source, err := Open("etcd://"+serve(t, etcd(r))+"/users/", Opening{})
	testutil.Must(t, err)
	published := 0
	err = source.Run(t.Context(), func([]backend.Spec, error) {
		if published++; published > 1 {
			return
		}
		for i := range 9 {
			r.put(fmt.Sprint("users/", i), strings.Repeat("no backend", registry.FileMax/80))
		}
	})
	if err == nil || !strings.Contains(err.Error(), "keys of") {
		t.Error(err)
	}
	many := make(map[string]*etcdPair)
	for i := range membersMax {
		many[strconv.Itoa(i)] = new(etcdPair)
	}
	if err := checkKeyCount(many); err != nil {
		t.Error(err)
	}
	if many["one more"] = new(etcdPair); checkKeyCount(many) == nil {
		t.Errorf("%d keys are taken", len(many))
	}
}

// An event of the watch has no value parsed again but its own.
func TestEtcd_parsesAValueOnce(t *testing.T) {
	values := make(map[string]*etcdPair)
	for i := range 1000 {
		values[strconv.Itoa(i)] = &etcdPair{Value: fmt.Appendf(nil, `{"Addr": "10.0.0.1:%d"}`, i+1)}
	}
	s := &etcdSource{}
	if list, err := s.specs(values); len(list) != 1000 || err != nil {
		t.Fatal(len(list), err)
	}
	values["7"] = &etcdPair{Value: []byte("10.0.0.2:80")}
	if n := testutil.Allocs(10, func() { _, _ = s.specs(values) }); n > 50 {
		t.Errorf("%v allocations for 1000 values that are known", n)
	}
}

// Neither the pages of a list nor what slices hold, in a list and in events, has no end.
func TestKubernetes_isBounded(t *testing.T) {
	many := slice(1, slices.Repeat([]string{"10.0.0.1"}, kubeEndpointsMax)...)
	for name, first := range map[string]int{"pages": kubePagesMax + 1, "a list": 1, "an event": 0} {
		k := &kube{registryFake: newRegistry(), token: "one"}
		token := filepath.Join(t.TempDir(), "token")
		write(t, token, "one", true)
		for i := range first {
			k.put(fmt.Sprint("users-", i), slice(1, "10.0.0.1"))
		}
		if first == 1 {
			k.put("users-many", many)
		}
		source, err := Open("k8s://shop/users:1?api=http://"+serve(t, k.handler())+"&token_file="+token, Opening{})
		testutil.Must(t, err)
		err = source.Run(t.Context(), func([]backend.Spec, error) { k.put("users-many", many) })
		if err == nil || !strings.Contains(err.Error(), "more than") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestPrefixEnd(t *testing.T) {
	for prefix, want := range map[string]string{
		"a": "b", "users/": "users0", "a\xff": "b", "\xff": "\x00", "": "\x00",
	} {
		if got := string(prefixEnd(prefix)); got != want {
			t.Errorf("%q: %q, want %q", prefix, got, want)
		}
	}
}

// kube is the part of a Kubernetes API server that serves EndpointSlices: the keys of the registry are their names, the
// values JSON of the rest.
type kube struct {
	*registryFake
	token string
	gone  string // how an old version is refused: "status" or "event"
}

func (k *kube) object(key, value string, version int64) json.RawMessage {
	return json.RawMessage(fmt.Sprintf(`{"metadata":{"name":%q,"resourceVersion":"%d"},%s}`, key, version,
		cmp.Or(value, `"endpoints":[]`)))
}

func (k *kube) handler() http.Handler {
	return k.handle(func(w http.ResponseWriter, q *http.Request) {
		p := q.URL.Query()
		k.mu.Lock()
		token, oldest := k.token, k.oldest
		k.mu.Unlock()
		switch {
		case q.Header.Get("Authorization") != "Bearer "+token:
			http.Error(w, `{"kind":"Status","code":401}`, 401)
		case q.URL.Path != "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices" ||
			p.Get("labelSelector") != "kubernetes.io/service-name=users":
			http.NotFound(w, q)
		case p.Get("watch") == "":
			k.list(w, p.Get("continue"))
		default:
			after, _ := strconv.ParseInt(p.Get("resourceVersion"), 10, 64)
			const gone = `{"kind":"Status","code":410,"reason":"Expired","message":"too old resource version"}`
			if after < oldest && k.gone == "status" {
				http.Error(w, gone, 410)
				return
			}
			if after < oldest {
				_, _ = fmt.Fprintf(w, `{"type":"ERROR","object":%s}`, gone)
				return
			}
			k.stream(w, q, after, func(c change) any {
				event := map[bool]string{true: "ADDED", false: "MODIFIED"}[c.first]
				if c.value == "" {
					event = "DELETED"
				}
				if c.key == "bookmark" {
					event, c.value = "BOOKMARK", `"kind":"EndpointSlice"`
				}
				return map[string]any{"type": event, "object": k.object(c.key, c.value, c.version)}
			})
		}
	})
}

// list answers with one slice a page.
func (k *kube) list(w http.ResponseWriter, from string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	var names []string
	for key := range k.values {
		if key != "bookmark" {
			names = append(names, key)
		}
	}
	slices.Sort(names)
	at, _ := strconv.Atoi(from)
	meta := map[string]string{"resourceVersion": strconv.FormatInt(k.version, 10)}
	items := []json.RawMessage{}
	if at < len(names) {
		items = append(items, k.object(names[at], k.values[names[at]], 1))
	}
	if at+1 < len(names) {
		meta["continue"] = strconv.Itoa(at + 1)
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"metadata": meta, "items": items})
}

// slice is an EndpointSlice with endpoints "ip conditions…".
func slice(port int, endpoints ...string) string {
	var all []string
	for _, e := range endpoints {
		f := strings.Fields(e)
		conditions := make(map[string]bool)
		for _, c := range f[1:] {
			name, value, _ := strings.Cut(c, "=")
			conditions[name] = value == "true"
		}
		text, _ := json.Marshal(conditions)
		all = append(all, fmt.Sprintf(`{"addresses":[%q],"zone":"z","conditions":%s}`, f[0], text))
	}
	return fmt.Sprintf(`"addressType":"IPv4","ports":[{"name":"dns","protocol":"UDP","port":53},`+
		`{"name":"http","protocol":"TCP","port":%d}],"endpoints":[%s]`, port, strings.Join(all, ","))
}

func TestKubernetes_isFollowed(t *testing.T) {
	t.Parallel()
	for _, gone := range []string{"status", "event"} {
		t.Run(gone, func(t *testing.T) {
			k := &kube{registryFake: newRegistry(), token: "one", gone: gone}
			token := filepath.Join(t.TempDir(), "token")
			write(t, token, "one\n", true)
			k.put("users-a", slice(1, "10.0.0.1 ready=true", "10.0.0.9 ready=false"))
			k.put("users-b", slice(2, "10.0.0.1"))
			k.put("users-c", slice(1, "10.0.0.1 ready=true")) // the same endpoint, while slices are rearranged
			set, _ := follow(t, "k8s://shop/users:http?api=http://"+serve(t, k.handler())+"&token_file="+token)
			becomes(t, set, "1 2")
			k.put("users-d", slice(4, "10.0.0.1 ready=true"))
			becomes(t, set, "1 2 4")
			k.put("bookmark", "x")
			k.put("users-b", "")
			becomes(t, set, "1 4")
			lists := k.asked("limit=")
			k.endStreams(false)
			k.put("users-e", slice(5, "10.0.0.1 ready=true"))
			becomes(t, set, "1 4 5")
			if n := k.asked("limit="); n != lists {
				t.Errorf("a watch that ended had the slices listed again: %d lists after %d", n, lists)
			}
			k.mu.Lock()
			k.values["users-f"] = slice(6, "10.0.0.1 ready=true")
			k.mu.Unlock()
			k.endStreams(true) // what comes now is not an event
			becomes(t, set, "1 4 5 6")
			// Endpoints that end are used where there is no other.
			for _, name := range []string{"users-a", "users-c", "users-d", "users-e"} {
				k.put(name, "")
			}
			k.put("users-f", slice(6, "10.0.0.1 ready=false serving=true terminating=true", "10.0.0.1 ready=true"))
			becomes(t, set, "6")
			k.put("users-f", slice(6, "10.0.0.1 ready=false serving=true terminating=true"))
			k.put("users-a", slice(1, "10.0.0.1 ready=false serving=false terminating=true"))
			k.put("users-g", slice(7, "10.0.0.1 ready=true"))
			becomes(t, set, "7")
			k.put("users-g", "")
			becomes(t, set, "6")
		})
	}
}

// A token that has ended is an error that takes nothing away, and the next one is read from the file.
func TestKubernetes_tokenIsReadAgain(t *testing.T) {
	t.Parallel()
	k := &kube{registryFake: newRegistry(), token: "one"}
	token := filepath.Join(t.TempDir(), "token")
	write(t, token, "one", true)
	k.put("users-a", slice(1, "10.0.0.1"))
	set, _ := follow(t, "k8s://shop/users:1?api=http://"+serve(t, k.handler())+"&token_file="+token)
	becomes(t, set, "1")
	k.mu.Lock()
	k.token = "two"
	k.mu.Unlock()
	k.endStreams(true)
	testutil.Eventually(t, testutil.Patience, func() bool { return k.asked("limit=") > 1 })
	if members(set) != "1" {
		t.Error("an error took members away")
	}
	k.put("users-b", strings.Replace(slice(1, "10.0.0.1"), `"port":1}`, `"port":2}`, 1))
	k.put("users-a", slice(1, "10.0.0.1", "10.0.0.1"))
	write(t, token, "two", true)
	testutil.Eventually(t, testutil.Patience, func() bool { return k.asked("watch=1") > 1 })
}

func TestKubernetes_ports(t *testing.T) {
	var one kubeSlice
	testutil.Must(t, json.Unmarshal([]byte("{"+slice(80)+"}"), &one))
	for port, want := range map[string]int{"http": 80, "80": 80, "dns": 0, "81": 0, "": -1} {
		got, err := (&kubeSource{port: port}).portOf(&one)
		if err != nil {
			got = -1
		}
		if got != want {
			t.Errorf("port %q: %d, %v, want %d", port, got, err, want)
		}
	}
}

// consul answers queries for the health of a service: the keys of the registry are instances, the values JSON.
type consul struct {
	*registryFake
	behind int64 // what is taken off the index
}

func (c *consul) handler() http.Handler {
	return c.handle(func(w http.ResponseWriter, q *http.Request) {
		p := q.URL.Query()
		if q.URL.Path != "/v1/health/service/users" || p.Get("passing") != "1" || p.Get("tag") != "v1" ||
			q.Header.Get("X-Consul-Token") != "secret" {
			http.NotFound(w, q)
			return
		}
		index, _ := strconv.ParseInt(p.Get("index"), 10, 64)
		c.mu.Lock()
		defer c.mu.Unlock()
		for index > 0 && index == c.version-c.behind {
			news, cut := c.news, c.cut
			c.mu.Unlock()
			select {
			case <-news:
			case <-cut:
			case <-q.Context().Done():
			}
			c.mu.Lock()
			if q.Context().Err() != nil {
				return
			}
		}
		w.Header().Set("X-Consul-Index", strconv.FormatInt(c.version-c.behind, 10))
		all := []json.RawMessage{}
		for _, value := range c.values {
			all = append(all, json.RawMessage(value))
		}
		_ = json.NewEncoder(w).Encode(all)
	})
}

func TestConsul_isFollowed(t *testing.T) {
	t.Parallel()
	c := &consul{registryFake: newRegistry()}
	entry := func(port int) string {
		return fmt.Sprintf(`{"Node":{"Address":"10.0.0.1"},"Service":{"Port":%d,"Weights":{"Passing":3},`+
			`"Meta":{"zone":"b"}},"Checks":[]}`, port)
	}
	c.version = 100
	c.put("a", entry(1))
	c.put("b", `{"Node":{"Address":"10.9.9.9"},"Service":{"Address":"10.0.0.1","Port":2}}`)
	token := filepath.Join(t.TempDir(), "token")
	write(t, token, "secret\n", true)
	set, _ := follow(t, "consul://"+serve(t, c.handler())+"/users?tag=v1&token_file="+token)
	becomes(t, set, "1 2")
	stays := set.Members()[0]
	c.put("c", entry(3))
	becomes(t, set, "1 2 3")
	c.put("b", "")
	becomes(t, set, "1 3")
	c.mu.Lock() // a snapshot was restored: the index goes back
	c.behind = 90
	c.mu.Unlock()
	c.put("d", entry(4))
	becomes(t, set, "1 3 4")
	c.put("d", "")
	becomes(t, set, "1 3")
	c.setRefuse(500)
	c.put("e", entry(5))
	before := c.asked("GET")
	testutil.Eventually(t, testutil.Patience, func() bool { return c.asked("GET") > before })
	c.setRefuse(0)
	becomes(t, set, "1 3 5")
	if set.Members()[0] != stays {
		t.Error("a member that stays is another one")
	}
	if n := c.asked("wait="); n == 0 || n > 30 {
		t.Errorf("%d queries that block", n)
	}
}

// docker is the part of Docker's API that tells of containers: the keys of the registry are their numbers, the values
// JSON of the rest.
func docker(r *registryFake) http.Handler {
	return r.handle(func(w http.ResponseWriter, q *http.Request) {
		var by map[string][]string
		if err := json.Unmarshal([]byte(q.URL.Query().Get("filters")), &by); err != nil {
			http.Error(w, err.Error(), 400)
			return
		}
		switch {
		case q.URL.Path == "/events" && slices.Contains(by["type"], "container"):
			r.mu.Lock()
			after := r.version
			r.mu.Unlock()
			r.stream(w, q, after, func(c change) any {
				action := map[bool]string{true: "start", false: "health_status: healthy"}[c.first]
				if c.value == "" {
					action = "die"
				}
				return map[string]any{"Type": "container", "Action": action, "id": c.key}
			})
		case q.URL.Path == "/containers/json" && slices.Equal(by["label"], []string{"edge.service=users"}):
			r.mu.Lock()
			defer r.mu.Unlock()
			all := []json.RawMessage{}
			for key, value := range r.values {
				all = append(all, json.RawMessage(fmt.Sprintf(`{"Id":%q,%s}`, key, value)))
			}
			_ = json.NewEncoder(w).Encode(all)
		default:
			http.NotFound(w, q)
		}
	})
}

func TestDocker_isFollowed(t *testing.T) {
	t.Parallel()
	r := newRegistry()
	socket := filepath.Join(t.TempDir(), "docker.sock")
	l, err := net.Listen("unix", socket)
	testutil.Must(t, err)
	testutil.ServeHTTP(t, l, docker(r).ServeHTTP)
	container := func(port int, more string) string {
		return fmt.Sprintf(`"State":"running","Status":"Up 2 minutes%s","Labels":{"edge.port":"%d"},"Ports":[],`+
			`"NetworkSettings":{"Networks":{"a":{"IPAddress":"10.9.9.9"},"b":{"IPAddress":"10.0.0.1"}}}`, more, port)
	}
	r.put("a", container(1, ""))
	r.put("b", container(2, " (unhealthy)"))
	r.put("c", `"Labels":{},"NetworkSettings":{"Networks":{}}`)
	set, _ := follow(t, "docker://edge.service=users?network=b&socket="+socket)
	becomes(t, set, "1")
	stays := set.Members()[0]
	r.put("b", container(2, " (healthy)"))
	becomes(t, set, "1 2")
	r.put("b", "")
	becomes(t, set, "1")
	r.endStreams(false)
	r.put("d", container(4, ""))
	becomes(t, set, "1 4")
	if set.Members()[0] != stays {
		t.Error("a member that stays is another one")
	}
}

func TestDocker_portsAndAddresses(t *testing.T) {
	for _, tc := range []struct{ text, want string }{
		{`"Ports":[{"PrivatePort":80,"Type":"tcp"},{"PrivatePort":80,"Type":"tcp"},{"PrivatePort":53,"Type":"udp"}],
			"NetworkSettings":{"Networks":{"a":{"IPAddress":""},"b":{"GlobalIPv6Address":"::7"}}}`, "[::7]:80*1"},
		{`"Ports":[{"PrivatePort":80},{"PrivatePort":81}],"NetworkSettings":{"Networks":{"a":
			{"IPAddress":"10.0.0.1"}}}`,
			"container 0123456789ab has no address, no port that is told, or a wrong weight"},
		{`"Labels":{"edge.port":"9","edge.weight":"3"},"HostConfig":{"NetworkMode":"host"}`, "127.0.0.1:9*3"},
		{`"Labels":{"edge.port":"9","edge.weight":"x"},"HostConfig":{"NetworkMode":"host"}`, "container 0123456789ab " +
			"has no address, no port that is told, or a wrong weight"},
		{`"State":"exited"`, "containers that are not ready: 0123456789abcdef is exited"},
		{`"Names":["/web-1"],"Status":"Up 1 second (health: starting)"`,
			"containers that are not ready: /web-1 is Up 1 second (health: starting)"},
	} {
		var c dockerContainer
		testutil.Must(t, json.Unmarshal([]byte(`{"Id":"0123456789abcdef",`+tc.text+"}"), &c))
		if got := describe((&dockerSource{}).specs([]dockerContainer{c})); got != tc.want {
			t.Errorf("%s: %s, want %s", tc.text, got, tc.want)
		}
	}
}
