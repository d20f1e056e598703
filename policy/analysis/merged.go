package analysis

import "strings"

// merged are the directories that are links in most images: the kernel knows what
// is in them by the second name only. In images that keep /usr apart (Alpine,
// BusyBox) the first four are directories of their own.
var merged = []struct{ link, leads string }{
	{"/bin", "/usr/bin"},
	{"/sbin", "/usr/sbin"},
	{"/lib", "/usr/lib"},
	{"/lib32", "/usr/lib32"},
	{"/lib64", "/usr/lib64"},
	{"/libx32", "/usr/libx32"},
	{"/var/run", "/run"},
	{"/var/lock", "/run/lock"},
}

// MergedLink reports the directory, of those above, that a path is in or is, and
// the path's other name, by which the kernel knows it where the directory is a link.
func MergedLink(path string) (link, other string, ok bool) {
	for _, m := range merged {
		if rest, found := strings.CutPrefix(path, m.link); found && (rest == "" || rest[0] == '/') {
			return m.link, m.leads + rest, true
		}
	}
	return "", "", false
}
