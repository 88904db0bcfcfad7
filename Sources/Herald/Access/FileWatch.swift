import Synchronization
import UnixSignals

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

/// Says when files have to be read again: when one of them changes, and at SIGHUP.
final class FileWatch: Sendable {
    private let paths: [String]
    private let seen: Mutex<[FileStamp?]>

    /// How often the files are looked at.
    static let interval: Duration = .seconds(1)

    /// The reason that SIGHUP gives.
    static let hangup = "SIGHUP"

    /// Watches files from now on; to be made before they are first read, so that no change goes by.
    init(_ paths: [String]) {
        self.paths = paths
        seen = Mutex(paths.map { FileStamp($0) })
    }

    /// Calls `reload` with the reason whenever it is time, one call after another, until the task is cancelled.
    func run(_ reload: @Sendable (String) async -> Void) async {
        let (reasons, source) = AsyncStream.makeStream(of: String.self, bufferingPolicy: .bufferingNewest(1))
        await withTaskGroup(of: Void.self) { group in
            group.addTask {
                for await _ in await UnixSignalsSequence(trapping: .sighup) { source.yield(Self.hangup) }
            }
            group.addTask {
                while (try? await Task.sleep(for: Self.interval)) != nil {
                    if self.hasChanged() { source.yield("a file has changed") }
                }
            }
            for await reason in reasons { await reload(reason) }
            group.cancelAll()
        }
    }

    /// Whether a file is another than when this was last asked.
    func hasChanged() -> Bool {
        let now = paths.map { FileStamp($0) }
        return seen.withLock { seen in
            defer { seen = now }
            return seen != now
        }
    }
}

/// Files that are small by nature, read whole.
enum SmallFile {
    /// Reads a file of no more than so many bytes.
    static func read(_ path: String, lengthMax: Int) throws(KeyFault) -> [UInt8] {
        let file = unsafe open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { throw KeyFault(reason(errno)) }
        defer { close(file) }
        var bytes: [UInt8] = []
        var piece = [UInt8](repeating: 0, count: 16_384)
        while true {
            let count = unsafe piece.withUnsafeMutableBytes { unsafe systemRead(file, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw KeyFault(reason(errno)) }
            guard count > 0 else { return bytes }
            bytes += piece[..<count]
            guard bytes.count <= lengthMax else { throw KeyFault("is larger than \(lengthMax) bytes") }
        }
    }

    private static func reason(_ number: Int32) -> String {
        unsafe strerror(number).map { unsafe String(cString: $0) } ?? "error \(number)"
    }
}

// The name read belongs to `SmallFile` above; this reaches the system's.
private let systemRead = unsafe read(_:_:_:)
