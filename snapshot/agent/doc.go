// Package agent makes backups by itself: on a schedule the leader writes an archive to a [Store], reads it back from there and
// verifies it, has the log note it, and removes old ones by age.
//
// In flow a state and secrets (functions of [Options]); out flow archives, named so that the agent of any member knows them:
//
//	NAME-CLUSTER-20261122T170501Z-i1234567.rootd
//
// with the cluster's name, the first 8 digits of its ID, the time in UTC and the index. Files with other names are not the agent's, and are left alone.
//
// Constructors start nothing; [Agent.Run] blocks until its context ends. Status may be called by any goroutine, everything else belongs to the one
// of Run.
//
// Invariants: nothing is removed before a newer archive was read back from the store and verified, byte by byte; the newest such archive is never
// removed. Without leadership nothing is written or removed. A backup that fails is tried again, sooner than the next would be due, and said: the archives that
// are there stay. A store never shows half an archive under an archive's name.
package agent
