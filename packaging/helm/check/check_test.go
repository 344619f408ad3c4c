package check

import (
	"bytes"
	"flag"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v3/pkg/lint"
	"helm.sh/helm/v3/pkg/lint/support"
	apps "k8s.io/api/apps/v1"
	autoscaling "k8s.io/api/autoscaling/v2"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

var (
	update   = flag.Bool("update", false, "write packaging/kubernetes/edge.yaml anew")
	packed   = flag.String("chart", chart, "the chart that is rendered: a folder, or a file as make dist makes it")
	rendered = flag.String("rendered", "", "the folder that TestChart writes the documents to, for an API server")
)

const (
	chart = "../edge"
	plain = "../../kubernetes/edge.yaml"
)

// notes are what helm install prints.
const notes = "NOTES.txt"

type values = map[string]any

// render returns the documents of the chart, by kind and name.
func render(t *testing.T, release string, v values) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	for _, doc := range bytes.Split(text(t, release, v), []byte("\n---\n")) {
		var head struct {
			Kind     string
			Metadata meta.ObjectMeta
		}
		if err := yaml.Unmarshal(doc, &head); err != nil {
			t.Fatalf("%v\n%s", err, doc)
		}
		if head.Kind == "" || head.Metadata.Name == "" || all[head.Kind+" "+head.Metadata.Name] != nil {
			t.Errorf("no kind, no name, or twice:\n%s", doc)
		}
		all[head.Kind+" "+head.Metadata.Name] = doc
	}
	return all
}

// files returns the files of the chart.
func files(t *testing.T, release string, v values) (map[string]string, error) {
	t.Helper()
	c, err := loader.Load(*packed)
	if err != nil {
		t.Fatal(err)
	}
	all, err := chartutil.ToRenderValues(c, v, chartutil.ReleaseOptions{Name: release, Namespace: "edge"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return engine.Render(c, all)
}

// Pods whose probes nobody answers are not made.
func TestChart_needsMetrics(t *testing.T) {
	for config, want := range map[string]bool{
		"[metrics]\nlisten = \":9145\"\n": true, "metrics.listen = \":9145\"\n": true,
		"metrics = { listen = \":1\" }": true, "[http]\nlisten = \":80\"\n\n[ metrics ]\n": true,
		"[http]\nlisten = \":80\"\n": false, "# [metrics]\n": false, "": false,
	} {
		_, err := files(t, "web", values{"config": config})
		if (err == nil) != want || err != nil && !strings.Contains(err.Error(), `Add [metrics] with listen = ":9145"`) {
			t.Errorf("%q: %v", config, err)
		}
	}
}

// What helm install prints is how to ask edge and how to change its file. It names no port that the Service lacks.
func TestChart_notes(t *testing.T) {
	for _, c := range []struct {
		v             values
		has, has2, no string
	}{
		{nil, "rollout status deployment/web\n", "port-forward service/web 8080:80\n", "\n\n\n"},
		{values{"kind": "DaemonSet"}, "rollout status daemonset/web\n", "get service web\n", "deployment"},
		{values{"service": values{"type": "ClusterIP"}},
			"--namespace edge --reuse-values --set-file config=edge.toml\n", "port-forward", "get service"},
		{values{"ports": values{"http": nil, "https": 443}},
			"edge is installed as web.", "get service", "port-forward"},
	} {
		all, err := files(t, "web", c.v)
		text := all["edge/templates/"+notes]
		if err != nil || !strings.Contains(text, c.has) || !strings.Contains(text, c.has2) ||
			strings.Contains(text, c.no) {
			t.Errorf("%v: %v\n%s", c.v, err, text)
		}
	}
}

// text returns the chart as helm template prints it.
func text(t *testing.T, release string, v values) []byte {
	t.Helper()
	all, err := files(t, release, v)
	if err != nil {
		t.Fatal(err)
	}
	var docs []string
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if doc := strings.TrimSpace(all[name]); doc != "" && path.Base(name) != notes {
			docs = append(docs, doc)
		}
	}
	return []byte(strings.Join(docs, "\n---\n") + "\n")
}

// object reads a document into its type of the API. A field that the API does not have is an error.
func object[T any](t *testing.T, doc []byte) (o T) {
	t.Helper()
	if err := yaml.UnmarshalStrict(doc, &o); err != nil {
		t.Errorf("%v\n%s", err, doc)
	}
	return o
}

var cases = map[string]values{
	"as it is": {},
	"daemon set": {"kind": "DaemonSet", "ports": values{"http": 80, "https": 443},
		"udpPorts":     values{"h3": 443},
		"nodeSelector": values{"edge": "yes"}, "tolerations": []any{values{"operator": "Exists"}}},
	"everything": {
		"autoscaling": values{"enabled": true, "targetConnections": 20_000}, "serviceMonitor": values{"enabled": true},
		"networkPolicy": values{"enabled": true}, "tlsSecrets": []any{"example-org"},
		"imagePullSecrets": []any{values{"name": "registry"}}, "image": values{"tag": "1.2.3"},
		"service": values{"annotations": values{"a.example/b": "c"}}, "ports": values{"http": 80, "https": 443},
		"udpPorts": values{"h3": 443},
		"affinity": values{"nodeAffinity": values{}},
	},
	"inside of the cluster": {"service": values{"type": "ClusterIP"}, "podDisruptionBudget": values{"enabled": false}},
}

// Each document is what the API of Kubernetes takes, and the documents fit each other.
func TestChart(t *testing.T) {
	for name, v := range cases {
		t.Run(name, func(t *testing.T) {
			var pod core.PodTemplateSpec
			var service core.Service
			var selectors []map[string]string
			configMaps := map[string]bool{}
			for id, doc := range render(t, "web", v) {
				switch kind, _, _ := strings.Cut(id, " "); kind {
				case "Deployment":
					o := object[apps.Deployment](t, doc)
					pod, selectors = o.Spec.Template, append(selectors, o.Spec.Selector.MatchLabels)
				case "DaemonSet":
					o := object[apps.DaemonSet](t, doc)
					pod, selectors = o.Spec.Template, append(selectors, o.Spec.Selector.MatchLabels)
				case "Service":
					o := object[core.Service](t, doc)
					selectors = append(selectors, o.Spec.Selector)
					if !strings.HasSuffix(o.Name, "-metrics") {
						service = o
					}
				case "ConfigMap":
					o := object[core.ConfigMap](t, doc)
					configMaps[o.Name] = true
					takes(t, o.Data["edge.toml"])
				case "PodDisruptionBudget":
					o := object[policy.PodDisruptionBudget](t, doc)
					selectors = append(selectors, o.Spec.Selector.MatchLabels)
				case "HorizontalPodAutoscaler":
					o := object[autoscaling.HorizontalPodAutoscaler](t, doc)
					if o.Spec.ScaleTargetRef.Name != "web" || len(o.Spec.Metrics) != 2 {
						t.Errorf("%+v", o.Spec)
					}
					pods := o.Spec.Metrics[1].Pods
					if pods == nil || pods.Metric.Name != "edge_connections" ||
						pods.Target.AverageValue.Value() != 20_000 {
						t.Errorf("%+v", o.Spec.Metrics)
					}
				case "NetworkPolicy":
					o := object[networking.NetworkPolicy](t, doc)
					selectors = append(selectors, o.Spec.PodSelector.MatchLabels)
					for _, p := range o.Spec.Ingress[0].Ports {
						if udp := p.Port.StrVal == "h3"; udp != (*p.Protocol == core.ProtocolUDP) {
							t.Errorf("%+v", p)
						}
					}
				case "ServiceMonitor": // of a CRD, whose types are not the API's
				default:
					t.Errorf("what is %s?", id)
				}
			}
			for _, s := range selectors {
				for key, value := range s {
					if pod.Labels[key] != value {
						t.Errorf("the selector %v selects no pod of %v", s, pod.Labels)
					}
				}
			}
			fits(t, &pod.Spec, &service, configMaps)
			writeRendered(t, name, v)
			udp := func(p core.ServicePort) bool { return p.Protocol == core.ProtocolUDP && p.Port == 443 }
			if slices.ContainsFunc(service.Spec.Ports, udp) != (v["udpPorts"] != nil) {
				t.Errorf("%+v", service.Spec.Ports)
			}
		})
	}
}

// writeRendered writes the documents for some values where -rendered asks for it.
func writeRendered(t *testing.T, name string, v values) {
	t.Helper()
	if *rendered == "" {
		return
	}
	file := filepath.Join(*rendered, strings.ReplaceAll(name, " ", "-")+".yaml")
	if err := os.WriteFile(file, text(t, "web", v), 0o600); err != nil {
		t.Fatal(err)
	}
}

// fits compares the names that a pod and its service have for the same things.
func fits(t *testing.T, pod *core.PodSpec, service *core.Service, configMaps map[string]bool) {
	t.Helper()
	c := pod.Containers[0]
	ports, protocols := map[string]bool{}, map[string]core.Protocol{}
	for _, p := range c.Ports {
		ports[p.Name], protocols[p.Name] = true, p.Protocol
	}
	wanted := []string{c.LivenessProbe.HTTPGet.Port.StrVal, c.ReadinessProbe.HTTPGet.Port.StrVal}
	for _, p := range service.Spec.Ports {
		wanted = append(wanted, p.TargetPort.StrVal)
		if p.Protocol != protocols[p.TargetPort.StrVal] {
			t.Errorf("port %s is %q, and %q in the pod", p.Name, p.Protocol, protocols[p.TargetPort.StrVal])
		}
	}
	for _, name := range wanted {
		if !ports[name] {
			t.Errorf("no port %q in %v", name, ports)
		}
	}
	volumes := map[string]bool{}
	for _, v := range pod.Volumes {
		volumes[v.Name] = true
		if v.ConfigMap != nil && !configMaps[v.ConfigMap.Name] {
			t.Errorf("no ConfigMap %s", v.ConfigMap.Name)
		}
	}
	for _, m := range c.VolumeMounts {
		if !volumes[m.Name] {
			t.Errorf("no volume %s", m.Name)
		}
	}
	if len(volumes) != len(c.VolumeMounts) {
		t.Errorf("%d volumes, %d mounts", len(volumes), len(c.VolumeMounts))
	}
	if s := c.Lifecycle.PreStop.Sleep; s == nil || *pod.TerminationGracePeriodSeconds <= s.Seconds {
		t.Errorf("%+v, %d", s, *pod.TerminationGracePeriodSeconds)
	}
	if *pod.SecurityContext.RunAsUser != 65532 || !*c.SecurityContext.ReadOnlyRootFilesystem {
		t.Errorf("%+v %+v", pod.SecurityContext, c.SecurityContext)
	}
}

// takes fails unless edge takes a configuration.
func takes(t *testing.T, text string) {
	t.Helper()
	conf := filepath.Join(t.TempDir(), "edge.toml")
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", "run", "./cmd/edge", "check", "--strict", conf)
	cmd.Dir = "../../.."
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s\n%s", err, out, text)
	}
}

// A kind that is none is refused with the reason.
func TestChart_refuses(t *testing.T) {
	c, err := loader.Load(chart)
	if err != nil {
		t.Fatal(err)
	}
	all, err := chartutil.ToRenderValues(c, values{"kind": "StatefulSet"}, chartutil.ReleaseOptions{Name: "web"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = engine.Render(c, all)
	if err == nil || !strings.Contains(err.Error(), "kind is Deployment or DaemonSet") {
		t.Error(err)
	}
}

// helm lint has nothing to say, but that there is no picture.
func TestChart_lint(t *testing.T) {
	for name, v := range cases {
		for _, m := range lint.All(chart, v, "edge", true).Messages {
			if m.Severity > support.InfoSev {
				t.Errorf("%s: %v", name, m)
			}
		}
	}
}

// Each value is used by a template.
func TestValues_used(t *testing.T) {
	templates, err := filepath.Glob(chart + "/templates/*")
	if err != nil {
		t.Fatal(err)
	}
	var all []byte
	for _, name := range templates {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b...)
	}
	b, err := os.ReadFile(chart + "/values.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`(?m)^(\w+):`).FindAllSubmatch(b, -1) {
		if !regexp.MustCompile(`\.Values\.` + string(m[1]) + `\b`).Match(all) {
			t.Errorf("no template uses %s", m[1])
		}
	}
}

// The plain manifests are the chart as it is: go test . -update writes them.
func TestPlain_current(t *testing.T) {
	const head = "# The chart in packaging/helm/edge with its own values: kubectl apply -f edge.yaml\n"
	chart := bytes.ReplaceAll(text(t, "edge", nil), []byte("managed-by: Helm"), []byte("managed-by: kubectl"))
	want := append([]byte(head), chart...)
	if *update {
		if err := os.WriteFile(plain, want, 0o644); err != nil { //nolint:gosec // everybody reads it
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(plain)
	if err != nil || !bytes.Equal(have, want) {
		t.Errorf("%s is not the chart: go test . -update (%v)", plain, err)
	}
}
