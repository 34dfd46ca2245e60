"""Making a log, and opening one for writing: what `Log.create` and `Log.open` do before there is a `Log`.

`create` writes and `open_writer` never does; both give the `Writer` that a `Log` is made of.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attestlog._internal.config import (
    ELSEWHERE,
    Identity,
    LogConfig,
    Signers,
    expect_state,
    find_config,
    forget_config,
    identity,
    new_config,
    read_config,
    save_config,
)
from attestlog._internal.core.batch import Head, Plan, plan_batch, prepare
from attestlog._internal.core.checkpoint import Checkpoint, check_origin
from attestlog._internal.core.genesis import (
    Continues,
    Genesis,
    Settings,
    Software,
    check_continues,
    check_settings,
    draft_genesis,
)
from attestlog._internal.core.pointer import Pointers
from attestlog._internal.core.policy import Policy, format_policy, parse_policy
from attestlog._internal.core.redaction import compile_patterns
from attestlog._internal.core.signature import ED25519, ML_DSA_44, PublicKey
from attestlog._internal.ids import new_entry_id
from attestlog._internal.log.drafts import Clock, Drafts, environment
from attestlog._internal.log.fence import Post, ask_fences
from attestlog._internal.log.keys import InForce, KeyHolder, key_holders, sign_head, sign_plan, signer_vkey
from attestlog._internal.log.remembered import Remembered, StateDir, recall
from attestlog._internal.log.replicas import Replicas
from attestlog._internal.log.writer import Writer
from attestlog._internal.places import state_dir
from attestlog._internal.signers import Passphrase, Signer
from attestlog._internal.signers.making import given_or_made, given_or_opened
from attestlog._internal.storage.contract import Group, NewLog, Store
from attestlog._internal.storage.resolve import (
    LogName,
    check_free,
    create_log,
    is_transient,
    is_url,
    open_source,
    open_store,
)
from attestlog._internal.version import VERSION
from attestlog.errors import MalformedConfigError, NoHomeError

if TYPE_CHECKING:
    from asyncio import Future as LoopFuture


def create(
    name: LogName,
    *,
    origin: str,
    signer: str | Signer | None,
    checkpoint_signer: str | Signer | None,
    checkpoint_pq_signer: str | Signer | None,
    algorithm: str,
    policy: Policy | Mapping[str, Any] | None,
    settings: Settings,
    passphrase: Passphrase | None,
    any_filesystem: bool,
    clock: Clock,
    group: Group | None,
    state: StateDir,
    continues: Continues | None,
) -> Writer:
    """See `Log.create`."""
    check_origin(origin)
    check_free(name, any_filesystem=any_filesystem)
    _warn_if_remembered(origin, state)
    # Structs built directly bypass validation: check them here.
    policy = parse_policy(format_policy(policy) if isinstance(policy, Policy) else dict(policy or {}))
    compile_patterns(policy.redaction.custom_patterns)
    check_settings(settings)
    if continues is not None:
        check_continues(continues)
    with contextlib.ExitStack() as undo:
        entry_signer, check_signer, pq_signer = _signers(
            origin, (signer, checkpoint_signer, checkpoint_pq_signer), algorithm, passphrase, undo
        )
        vkeys = [signer_vkey(origin, check_signer)]
        if pq_signer is not None:
            vkeys.append(signer_vkey(origin, pq_signer, ML_DSA_44))
        key = entry_signer.public_key
        software = Software("attestlog", VERSION)
        genesis = Genesis(origin, {key.key_id: key}, vkeys, policy, settings, software, continues)
        plan = _plan_first(genesis, key, clock())
        (line,) = plan.seal(sign_plan(entry_signer, key, plan))
        holders = key_holders(genesis, check_signer, pq_signer)
        which = Identity(origin, plan.head.entry_hash)
        remembered = recall(which, None, state, is_transient=is_transient(name))
        undo.callback(remembered.close)
        first_signed = Checkpoint(origin, 1, plan.head.edge.root())
        remembered.begin(genesis, first_signed, plan.head, is_new_log=True)
        # A crash from here on leaves the memory, and then the configuration, of a log that nobody has.
        undo.callback(remembered.forget)
        note = sign_head(holders, first_signed, clock())
        signers = Signers(
            entry=entry_signer.uri,
            checkpoint=check_signer.uri,
            checkpoint_pq=pq_signer.uri if pq_signer is not None else None,
        )
        _make(name, NewLog(line, plan.leaves[0], note, group), which, signers)
        store = open_store(name, any_filesystem=any_filesystem, known=remembered)
        undo.callback(store.close)
        in_force = _load(store, remembered, entry_signer, passphrase)
        writer = Writer(
            store,
            in_force,
            holders=holders,
            drafts=Drafts(store.genesis, clock),
            replicas=Replicas([]),
            clock=clock,
            remembered=remembered,
        )
        undo.pop_all()
    return writer


def _plan_first(genesis: Genesis, key: PublicKey, now_us: int) -> Plan:
    """The genesis entry, numbered and hashed."""
    first = prepare(
        draft_genesis(genesis), genesis.policy, entry_id=new_entry_id(), environment=environment(),
        algorithm=key.algorithm,
    )  # fmt: skip
    return plan_batch(
        Head(), [first], now_us, algorithm=key.algorithm, key_id=key.key_id, batched=False,
        pointers=Pointers(),
    )  # fmt: skip


_Given = str | Signer | None


def _signers(
    origin: str,
    given: tuple[_Given, _Given, _Given],
    algorithm: str,
    passphrase: Passphrase | None,
    undo: contextlib.ExitStack,
) -> tuple[Signer, Signer, Signer | None]:
    """Of entries, of checkpoints, and with ML-DSA-44; each given, or made where none is."""
    entry, checkpoint, checkpoint_pq = given
    made = given_or_made(entry, origin=origin, role="entry", algorithm=algorithm)
    entry_signer = given_or_opened(made, passphrase, undo)
    made = given_or_made(checkpoint, origin=origin, role="checkpoint", algorithm=ED25519)
    check_signer = given_or_opened(made, passphrase, undo)
    if checkpoint_pq is None:
        return entry_signer, check_signer, None
    made = given_or_made(checkpoint_pq, origin=origin, role="checkpoint-pq", algorithm=ML_DSA_44)
    return entry_signer, check_signer, given_or_opened(made, passphrase, undo)


def open_writer(
    name: LogName | Store,
    *,
    signer: str | Signer | None,
    checkpoint_signer: str | Signer | None,
    checkpoint_pq_signer: str | Signer | None,
    passphrase: Passphrase | None,
    any_filesystem: bool,
    clock: Clock,
    ack_replicas: int,
    ack_timeout_s: float,
    state: StateDir,
) -> Writer:
    """See `Log.open`."""
    with contextlib.ExitStack() as undo:
        source = open_source(name)
        config = find_config(source)
        remembered = recall(identity(source), config, state, is_transient=source.is_transient)
        undo.callback(remembered.close)
        remembered.compare_before(source)
        store = open_store(name, any_filesystem=any_filesystem, known=remembered)
        undo.callback(store.close)
        posts, unasked = ask_fences(config, store.genesis) if config is not None else ([], [])
        if config is not None and config.fence:
            remembered.others = partial(_posts, config, store.genesis)
        if config is None and (signer is None or checkpoint_signer is None):
            config = read_config(store.source)  # says that there is none
        named = config.signers if config is not None else None
        is_chosen = signer is not None
        # Which of several holds a key in force is found out within the lock; a single one is opened before,
        # because a person may be asked for its passphrase.
        if signer is None and named is not None and len(named.entries) == 1:
            (signer,) = named.entries
        entry_signer = given_or_opened(signer, passphrase, undo) if signer is not None else None
        checkpoint_signer = checkpoint_signer or (named.checkpoint if named is not None else None)
        assert checkpoint_signer is not None
        pq_uri = checkpoint_pq_signer or (named.checkpoint_pq if named is not None else None)
        holders = _holders(store.genesis, checkpoint_signer, pq_uri, passphrase, undo)
        if ack_replicas and not holders:
            raise MalformedConfigError(
                "waiting for replicas needs checkpoints: this machine's are signed elsewhere",
                member="ack_replicas",
            )
        replicas = Replicas(config.replicas if config is not None else (), ack_replicas, ack_timeout_s)
        in_force = _load(store, remembered, entry_signer, passphrase, is_chosen=is_chosen, posts=posts)
        undo.callback(in_force.close)
        drafts = Drafts(store.genesis, clock, replicas.urls)
        writer = Writer(
            store, in_force, holders=holders, drafts=drafts, replicas=replicas, clock=clock,
            remembered=remembered, notices=[*filter(None, [remembered.adopted]), *unasked],
        )  # fmt: skip
        undo.pop_all()
        return writer


def _posts(config: LogConfig, genesis: Genesis) -> Sequence[Post]:
    return ask_fences(config, genesis)[0]


def _holders(
    genesis: Genesis,
    checkpoint: str | Signer,
    pq: _Given,
    passphrase: Passphrase | None,
    undo: contextlib.ExitStack,
) -> list[KeyHolder]:
    """Who signs checkpoints here; none where that is done elsewhere."""
    if checkpoint == ELSEWHERE:
        return []
    signer = given_or_opened(checkpoint, passphrase, undo)
    pq_signer = given_or_opened(pq, passphrase, undo) if pq is not None else None
    return key_holders(genesis, signer, pq_signer)


def _make(name: LogName, new: NewLog, which: Identity, signers: Signers) -> None:
    """The log and its configuration. Raises StorageError, NoHomeError: then neither is there."""
    if is_url(name):
        create_log(name, new)
        log = open_source(name)
        save_config(log, expect_state(new_config(which, log.absolute(), signers)))
        return
    path = Path(name).absolute()
    config = expect_state(new_config(which, str(path), signers))
    save_config(path, config)
    try:
        create_log(name, new)
    except BaseException:
        forget_config(config, path)
        raise


def _load(
    store: Store,
    remembered: Remembered,
    signer: Signer | None,
    passphrase: Passphrase | None,
    *,
    is_chosen: bool = True,
    posts: Sequence[Post] = (),
) -> InForce:
    """The rules and the signer at the head, of a log that is what it is known to be."""
    in_force = InForce(store, passphrase)
    with store.exclusive() as head:
        # Before anything is remembered of this log, or signed in it.
        for post in posts:
            remembered.compare_prefix(store, head, post.signed, post.url)
        in_force.load(head, signer, is_chosen=is_chosen)
        remembered.compare(store, head)
    return in_force


def _warn_if_remembered(origin: str, state: StateDir) -> None:
    """At once, and not when `verify` says FORKED: two logs of one name look like two histories of one."""
    from attestlog._internal.verifying.memory import is_taken

    with contextlib.suppress(OSError, NoHomeError):
        if is_taken(state_dir() if state is None else Path(state), origin):
            warnings.warn(
                f"another log named {origin} is remembered, and verify will say FORKED of this one:"
                f" choose another name, or run attestlog memory forget {origin}",
                stacklevel=4,
            )


def close_opened(pending: LoopFuture[Any]) -> None:
    """Nobody took this log, whose opening went on in its thread. Closing signs, so it is in a thread, too."""
    if not pending.cancelled() and pending.exception() is None:
        pending.get_loop().run_in_executor(None, pending.result().close)
