// Package check is the tests of the Helm chart beside it and of the plain manifests that are made of it. It has no code
// of its own.
//
// The chart is rendered by Helm's own packages, with several sets of values. Each document is read into the type that
// the API of Kubernetes has for it, and a field that the API does not have fails the test: what a schema of that
// version would find, without its files. Then the documents are held against each other: selectors and labels, ports,
// volumes, names; the configuration is given to edge check. Documents of other APIs (ServiceMonitor) are only read as
// YAML.
//
// It is a module of its own: Helm and the types of Kubernetes are 60 modules that take minutes to compile. make test
// does without it and looks at the plain manifests in another way; make helm-check runs it:
//
//	make helm-check                  the tests
//	go test . -run Plain -update     writes packaging/kubernetes/edge.yaml anew, after a change of the chart
//
// No cluster is asked here. make release-check has a real API server take what this renders of the chart of a release;
// that the pods start is not tested.
package check
