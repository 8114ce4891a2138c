"""The worker's own program: confine, load, then answer from shared memory until the agent closes the pipe.

Decides nothing: the agent's `shared_tensors` checks its messages. Refuses to know the purpose of a request.
"""

import sys
from pathlib import Path

import msgspec

from agent.adapters.runtime.onnx_runtime import OnnxSession
from agent.adapters.runtime.session_settings import SessionSettings
from agent.adapters.runtime.shared_tensors import MAX_BYTES, Region, Said, lay, needed, read_message, write_message
from confinement.bounds import Bounds
from confinement.process import confine
from confinement.surroundings import library_paths
from contract.manifest import Manifest


def main() -> None:
    """Runs the worker. Arguments: the descriptors to read from, to write to, and of the region; the artifact.
    Standard input names the model.
    """
    reads, writes, memory = (int(fd) for fd in sys.argv[1:4])
    manifest, settings = msgspec.json.decode(sys.stdin.buffer.read(), type=tuple[Manifest, SessionSettings])
    artifact = Path(sys.argv[4])
    region = Region(memory)
    try:
        shared_mb = 2 * MAX_BYTES >> 20  # the shared memory counts for the agent, and it is mapped twice while it grows
        confine(Bounds(manifest.limits.memory_mb + shared_mb, cpu_s=None), [artifact, *library_paths()])
        session = OnnxSession(str(artifact), manifest, settings)
    except Exception as error:  # onnxruntime's exceptions share no base class
        write_message(writes, Said(fault=f"{type(error).__name__}: {error}"[:300]))
        return
    write_message(writes, Said())
    names = [output.name for output in manifest.session_outputs]
    while (said := read_message(reads)) is not None:
        if not _answer(session, names, region, said, (reads, writes)):
            return


def _answer(session: OnnxSession, names: list[str], region: Region, said: Said, fds: tuple[int, int]) -> bool:
    reads, writes = fds
    try:
        region.see(said.size_bytes)
        inputs = {placed.name: region.view(placed) for placed in said.tensors}
        outputs = lay(dict(zip(names, session.run(inputs), strict=True)))
    except Exception as error:  # onnxruntime's exceptions share no base class
        write_message(writes, Said(fault=f"{type(error).__name__}: {error}"[:300]))
        return True
    if (size_bytes := needed(outputs)) > region.size_bytes:
        write_message(writes, Said(size_bytes=size_bytes))
        again = read_message(reads)
        if again is None:
            return False
        if again.size_bytes < size_bytes:
            return True  # the agent does not accept so much, and the caller got its error
        region.see(again.size_bytes)
    write_message(writes, Said(region.put(outputs)))
    return True


if __name__ == "__main__":
    main()
