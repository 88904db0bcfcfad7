import CHeraldNet
import Foundation
import Testing

@Suite struct ListenerTests {
    private func withLoop(_ body: (OpaquePointer) throws -> Void) throws {
        var loop: OpaquePointer?
        #expect(hr_loop_new(0, { _ in }, nil, &loop) == .ok)
        try body(try #require(loop))
        hr_loop_free(&loop)
    }

    @Test(arguments: ["127.0.0.1", "::1"])
    func `port 0 binds a port of the system's, and another loop may share it`(host: String) throws {
        try withLoop { loop in
            var first: OpaquePointer?
            #expect(hr_listener_bind(loop, host, 0, 16, &first) == .ok)
            let port = hr_listener_port(first)
            #expect(port != 0)
            var second: OpaquePointer?
            #expect(hr_listener_bind(loop, host, port, 16, &second) == .ok)
            #expect(hr_listener_port(second) == port)
            hr_listener_close(&first)
            hr_listener_close(&second)
        }
    }

    @Test(arguments: ["localhost", "127.0.0.256", "", "[::1]", "192.0.2.1"])
    func `what is no address of this host is refused as such`(host: String) throws {
        try withLoop { loop in
            var listener: OpaquePointer?
            #expect(hr_listener_bind(loop, host, 0, 16, &listener) == .badAddress)
            #expect(listener == nil)
        }
    }

    @Test func `a port that another program holds is said to be in use`() throws {
        let holder = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(holder) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = inet_addr("127.0.0.1")
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let bound = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { raw in
                bind(holder, raw, length) == 0 && listen(holder, 1) == 0 && getsockname(holder, raw, &length) == 0
            }
        }
        #expect(bound)
        try withLoop { loop in
            var listener: OpaquePointer?
            let status = hr_listener_bind(loop, "127.0.0.1", UInt16(bigEndian: address.sin_port), 16, &listener)
            #expect(status == .addressInUse)
        }
    }

    @Test func `a port on which another server of ours listens is found taken`() throws {
        try withLoop { loop in
            var listener: OpaquePointer?
            #expect(hr_listener_bind(loop, "127.0.0.1", 0, 16, &listener) == .ok)
            let port = hr_listener_port(listener)
            #expect(hr_listener_probe("127.0.0.1", port) == .addressInUse)
            hr_listener_close(&listener)
        }
        #expect(hr_listener_probe("127.0.0.1", 0) == .ok)
        #expect(hr_listener_probe("nowhere", 80) == .badAddress)
    }
}
