// Package docs runs the code blocks of README.md, CONTRIBUTING.md, the pages below docs/ and the README.md of packages,
// so that what a reader pastes works. The configurations in examples/ and packaging/ are run as blocks are.
//
// The word after the fence says how a block is tested:
//
//	go           its lines stand, in this order, in a Go file below examples/, in this package, or in the
//	             example_test.go of a package, which are compiled and vetted; a block that is a whole program is a
//	             whole file
//	toml         a configuration by itself: edge check has neither errors nor warnings for it, and edge run serves it
//	yaml         a configuration of another program: it has neither errors nor warnings
//	sh           runs in a shell, all blocks of a page in turn; a command that fails is a failure
//	console      the same for lines that begin with "$ "; the lines after them stand in the output, in this order.
//	             … stands for any text
//	text         a drawing or a sample; so are the formats of other programs (ini, dockerfile)
//
// Blocks that cannot run, and samples that no command of their page prints, are in the list of exceptions, each with
// its reason. A block that nothing tests fails the test, and so does an exception without a block.
//
// # The shell of a page
//
// The shell starts in an empty folder with demo origins on ports 3000, 3001 and 3002, certificates in /etc/edge/tls and
// error pages in /etc/edge/pages: free ports and folders of the test. Before the first configuration edge is a proxy
// from port 8080 to the first origin. A configuration of the page becomes edge.toml: edge check takes it, and edge
// serves it until the next one, or until a command starts another. Each of its addresses accepts, and its process ends
// without an error and without a connection that it has to cut. Requests to authorities and collectors on the Internet
// fail, since HTTPS_PROXY is a closed port. make only says what it would do; openssl, curl and edge are the real ones.
// Each section of recipes.md has a shell of its own.
//
// # Links
//
// A link to a heading leads to one. The index of docs/README.md has the words of everyday jobs.
//
// # Translations
//
// A page in another language, as README.zh.md, has the code, the links and the figures of its original. Its blocks are
// run, too. Where a page that it leads to has a translation, it may lead to that.
//
// # Limits
//
// The shell of a page has the time of testutil.Minutes.
package docs
