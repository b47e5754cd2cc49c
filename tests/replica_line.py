"""The line between a master and its replica, which can be frozen: both sides see a living connection, and nothing arrives."""

import contextlib
import socket
import threading


class _Flow:
    """One connection through the line."""

    def __init__(self, near: socket.socket, far: socket.socket) -> None:
        self.near = near
        self.far = far
        self.is_cut = False

    def cut(self) -> None:
        """Close both sides; what has not passed never will."""
        self.is_cut = True
        for side in (self.near, self.far):
            with contextlib.suppress(OSError):
                side.shutdown(socket.SHUT_RDWR)
            side.close()


class ReplicaLine:
    """Passes octets between a replica, which connects to ``port``, and its master."""

    def __init__(self) -> None:
        self._master = 0
        self._flowing = threading.Event()
        self._flowing.set()
        self._flows: list[_Flow] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def freeze(self) -> None:
        """Let nothing of the master's pass from now on; the replica's own words pass."""
        self._flowing.clear()

    def lead_to(self, port: int) -> None:
        """Cut what there is, with all that is frozen in it; the replica's next connection leads to this master, and flows."""
        self._master = port
        self.cut()
        self._flowing.set()

    def cut(self) -> None:
        """Cut every connection."""
        flows, self._flows = self._flows, []
        for flow in flows:
            flow.cut()

    def close(self) -> None:
        """End the line."""
        self._listener.close()
        self.cut()
        self._flowing.set()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                try:
                    far = socket.create_connection(("127.0.0.1", self._master))
                except OSError:
                    near.close()
                    continue
                flow = _Flow(near, far)
                self._flows.append(flow)
                for source, sink in ((near, far), (far, near)):
                    threading.Thread(target=self._pass, args=(flow, source, sink), daemon=True).start()

    def _pass(self, flow: _Flow, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while octets := source.recv(65_536):
                if source is flow.far:
                    self._flowing.wait()
                if flow.is_cut:
                    return
                sink.sendall(octets)
        flow.cut()
