// Package propose makes the smallest policy out of what a workload was seen to do.
//
// Everything seen is allowed, and little else: a path of its own where a few files
// of a directory were asked for, the directory where there were many. How often each
// thing was seen is kept, so that a reader can tell the ordinary from the accident.
// What was seen once is not known to be needed; what was never seen may still be.
package propose
