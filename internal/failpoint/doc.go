// Package failpoint lets a test kill the process at a named point: between two steps of which the first is done and the
// second is not. Only a build with the tag "failpoint" has them; any other pays nothing for them.
package failpoint
