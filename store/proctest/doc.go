// Package proctest is what tests share that run programs as processes of their own: ports that are theirs alone, and
// binaries built once. It knows nothing of the programs.
package proctest
