// Other people's verifiers of C2SP logs, each as it was published, on files made by attestlog.
//
//	driver note  VKEY NOTE                      golang.org/x/mod/sumdb/note
//	driver tree  VKEY FOLDER [OLDSIZE ...]      golang.org/x/mod/sumdb/tlog over the published tiles
//	driver entries VKEY FOLDER                  torchwood's client over the published tiles and bundles
//	driver checkpoint POLICY NOTE               torchwood, by a tlog-policy
//	driver proof POLICY PROOF ENTRYHASH         torchwood, a tlog-proof file
//
// Exit status 0 and one line on stdout where it holds, 1 and a reason on stderr where it does not.
package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func main() {
	run := map[string]func([]string) (string, error){
		"note": checkNote, "tree": checkTree, "entries": checkEntries,
		"checkpoint": checkCheckpoint, "proof": checkProof,
	}[os.Args[1]]
	said, err := run(os.Args[2:])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(said)
}

func open(vkey, path string) (torchwood.Checkpoint, error) {
	var none torchwood.Checkpoint
	data, err := os.ReadFile(path)
	if err != nil {
		return none, err
	}
	verifier, err := note.NewVerifier(vkey)
	if err != nil {
		return none, err
	}
	opened, err := note.Open(data, note.VerifierList(verifier))
	if err != nil {
		return none, err
	}
	checkpoint, err := torchwood.ParseCheckpoint(opened.Text)
	if err == nil && checkpoint.Origin != verifier.Name() {
		err = errors.New("another origin")
	}
	return checkpoint, err
}

func checkNote(args []string) (string, error) {
	checkpoint, err := open(args[0], args[1])
	return fmt.Sprintf("%d %x", checkpoint.N, checkpoint.Hash[:]), err
}

// tiles reads published tiles for x/mod, whose own paths differ.
type tiles struct{ folder string }

func (t tiles) Height() int                     { return 8 }
func (t tiles) SaveTiles([]tlog.Tile, [][]byte) {}
func (t tiles) ReadTiles(wanted []tlog.Tile) ([][]byte, error) {
	var found [][]byte
	for _, tile := range wanted {
		data, err := os.ReadFile(filepath.Join(t.folder, torchwood.TilePath(tile)))
		if err != nil {
			return nil, err
		}
		found = append(found, data)
	}
	return found, nil
}

func checkTree(args []string) (string, error) {
	folder := args[1]
	checkpoint, err := open(args[0], filepath.Join(folder, "checkpoint"))
	if err != nil {
		return "", err
	}
	reader := tlog.TileHashReader(checkpoint.Tree, tiles{folder})
	for n := int64(0); n < checkpoint.N; n++ {
		entry, err := readEntry(folder, n, checkpoint.N)
		if err != nil {
			return "", err
		}
		leaf := tlog.RecordHash(entry)
		hashes, err := reader.ReadHashes([]int64{tlog.StoredHashIndex(0, n)})
		if err != nil {
			return "", err
		}
		if hashes[0] != leaf {
			return "", fmt.Errorf("entry %d is not the one in the tree", n)
		}
		if n%37 != 0 && n != checkpoint.N-1 {
			continue
		}
		proof, err := tlog.ProveRecord(checkpoint.N, n, reader)
		if err != nil {
			return "", err
		}
		if err := tlog.CheckRecord(proof, checkpoint.N, checkpoint.Hash, n, leaf); err != nil {
			return "", err
		}
	}
	for _, text := range args[2:] {
		old, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return "", err
		}
		root, err := tlog.TreeHash(old, reader)
		if err != nil {
			return "", err
		}
		proof, err := tlog.ProveTree(checkpoint.N, old, reader)
		if err != nil {
			return "", err
		}
		if err := tlog.CheckTree(proof, checkpoint.N, checkpoint.Hash, old, root); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("%d %x", checkpoint.N, checkpoint.Hash[:]), nil
}

// readEntry reads one entry of a bundle with torchwood's reader of bundles.
func readEntry(folder string, n, size int64) ([]byte, error) {
	tile := tlog.Tile{H: 8, L: -1, N: n / 256, W: int(min(256, size-n/256*256))}
	rest, err := os.ReadFile(filepath.Join(folder, torchwood.TilePath(tile)))
	if err != nil {
		return nil, err
	}
	var entry []byte
	for skip := n % 256; skip >= 0; skip-- {
		if entry, rest, err = torchwood.ReadTileEntry(rest); err != nil {
			return nil, err
		}
	}
	return entry, nil
}

func checkEntries(args []string) (string, error) {
	checkpoint, err := open(args[0], filepath.Join(args[1], "checkpoint"))
	if err != nil {
		return "", err
	}
	files, err := torchwood.NewTileFS(os.DirFS(args[1]))
	if err != nil {
		return "", err
	}
	client, err := torchwood.NewClient(files)
	if err != nil {
		return "", err
	}
	var all bytes.Buffer
	count := int64(0)
	for n, entry := range client.AllEntries(context.Background(), checkpoint.Tree, 0) {
		if n != count || len(entry) != 32 {
			return "", fmt.Errorf("entry %d has %d bytes, %d was due", n, len(entry), count)
		}
		all.Write(entry)
		count++
	}
	if err := client.Err(); err != nil {
		return "", err
	}
	if count != checkpoint.N {
		return "", fmt.Errorf("%d entries of %d", count, checkpoint.N)
	}
	return hex.EncodeToString(all.Bytes()), nil
}

func policy(path string) (torchwood.Policy, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return torchwood.ParsePolicy(data)
}

func checkCheckpoint(args []string) (string, error) {
	rules, err := policy(args[0])
	if err != nil {
		return "", err
	}
	data, err := os.ReadFile(args[1])
	if err != nil {
		return "", err
	}
	checkpoint, _, err := torchwood.VerifyCheckpoint(data, rules)
	return fmt.Sprintf("%d %x", checkpoint.N, checkpoint.Hash[:]), err
}

func checkProof(args []string) (string, error) {
	rules, err := policy(args[0])
	if err != nil {
		return "", err
	}
	proof, err := os.ReadFile(args[1])
	if err != nil {
		return "", err
	}
	entry, err := hex.DecodeString(args[2])
	if err != nil {
		return "", err
	}
	extra, _ := torchwood.ProofExtraData(proof)
	return fmt.Sprintf("%d", len(extra)), torchwood.VerifyProof(rules, tlog.RecordHash(entry), proof)
}
