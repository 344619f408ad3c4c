package interop

import (
	"bytes"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// resources are the paths of the API by the kinds of documents in the Helm chart.
var resources = map[string]string{
	"ConfigMap": "/api/v1/namespaces/shop/configmaps/", "Service": "/api/v1/namespaces/shop/services/",
	"Deployment":              "/apis/apps/v1/namespaces/shop/deployments/",
	"DaemonSet":               "/apis/apps/v1/namespaces/shop/daemonsets/",
	"PodDisruptionBudget":     "/apis/policy/v1/namespaces/shop/poddisruptionbudgets/",
	"HorizontalPodAutoscaler": "/apis/autoscaling/v2/namespaces/shop/horizontalpodautoscalers/",
	"NetworkPolicy":           "/apis/networking.k8s.io/v1/namespaces/shop/networkpolicies/",
}

var (
	documentKind = regexp.MustCompile(`(?m)^kind: (\w+)$`)
	metadataName = regexp.MustCompile(`(?m)^  name: ([\w-]+)$`)
	namespaced   = regexp.MustCompile(`(?m)^  namespace: .*\n`)
)

// An API server takes the documents of the chart of a release as kubectl apply --server-side sends them, each set of
// values over the one before, with an unknown field as an error.
func TestChart_applied(t *testing.T) {
	dir := os.Getenv("EDGE_CHART")
	if dir == "" {
		t.Skip("make release-check renders the chart and sets EDGE_CHART")
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil || len(files) < 3 {
		t.Fatalf("%q, %v", files, err)
	}
	c := theCluster(t)
	c.do("POST", "/api/v1/namespaces", `{"metadata":{"name":"shop"}}`)
	applied := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		testutil.Must(t, err)
		for _, doc := range strings.Split(string(text), "\n---\n") {
			kind, name := documentKind.FindStringSubmatch(doc), metadataName.FindStringSubmatch(doc)
			if kind == nil || name == nil {
				t.Fatalf("%s: no kind or name:\n%s", file, doc)
			}
			if kind[1] == "ServiceMonitor" { // of a CRD, which this API server has not
				continue
			}
			path := resources[kind[1]] + name[1] + "?fieldManager=helm&force=true&fieldValidation=Strict"
			if status, answer := c.apply(path, namespaced.ReplaceAllString(doc, "")); status/100 != 2 {
				t.Errorf("%s: %s %s: %d %s", filepath.Base(file), kind[1], name[1], status, answer)
			}
			applied++
		}
	}
	if applied < 12 {
		t.Errorf("%d documents", applied)
	}
	if status, _ := c.apply(resources["ConfigMap"]+"x?fieldManager=helm&fieldValidation=Strict",
		"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: x\nwrong: 1\n"); status/100 == 2 {
		t.Error("it takes what is wrong")
	}
}

// apply sends a document in YAML.
func (c *cluster) apply(path, doc string) (status int, answer []byte) {
	c.t.Helper()
	req, err := http.NewRequest("PATCH", "https://"+c.at+path, bytes.NewBufferString(doc))
	testutil.Must(c.t, err)
	req.Header.Set("Authorization", "Bearer root-token")
	req.Header.Set("Content-Type", "application/apply-patch+yaml")
	resp, err := c.client.Do(req)
	testutil.Must(c.t, err)
	defer resp.Body.Close()
	answer, err = io.ReadAll(resp.Body)
	testutil.Must(c.t, err)
	return resp.StatusCode, answer
}
