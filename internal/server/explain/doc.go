// Package explain says what a server of a configuration does with one request: which listener and which route take it
// and why no other one does, what happens to it on the way, where it goes, with which odds, times and retries, and
// where in the files each of that stands. edge explain prints it.
//
// It decides nothing by itself. The request is given to the proxy, with the listeners and routes that a server would
// have: see server.DryRun. What is said of a route that does not take it comes from the search of package route.
// The configuration is to be loaded with config.Options.Places; without it no place of a key is known.
//
// # What it cannot know
//
// Nothing that runs is asked: which backends are up, what a name resolves to, how busy a backend is. Client
// certificates are not given; where a listener demands one, the request is explained as if a valid one had been shown.
// The filters of a program do not run.
//
// # The answer
//
// An Answer is JSON with names that stay; new members may join. A list that is empty is there all the same.
//
// # Concurrency
//
// Explain starts an engine with one reactor for itself, and ends it before it returns. Any goroutine may call it.
package explain
