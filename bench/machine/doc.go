// Package machine reads what a benchmark ran on, for its report: processor, caches, frequency, kernel, mitigations,
// limits of the cgroup, load, and how the program was built.
//
// It measures nothing and judges nothing. It reads files of Linux and no names: neither the host, nor the user, nor an
// address is among the facts, so that a report can be shown.
//
//	f := machine.Read(version)     once, before the first measurement: the load is measured now
//	f.Rows()                       as a table for people
//	f.Differences(other)           what keeps two reports from being compared
//
// What a kernel or a virtual machine does not tell is empty and left out: most virtual machines say nothing about
// frequency, and caches are those that the hypervisor shows.
//
// Facts are values and nobody's in particular; Read is safe for any goroutine.
package machine
