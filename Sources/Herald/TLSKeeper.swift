import FoundationEssentials
import HeraldCore
import Logging
import Synchronization
import UnixSignals

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

/// Keeps a hub's certificates those of the files: they are read again when one changes, and at SIGHUP.
///
/// Connections keep what they began with. Files that cannot be used change nothing: the log says what is wrong.
final class TLSKeeper: Sendable {
    private let files: TLSIdentity.Files
    private let hub: Hub
    private let logger: Logger
    private let present: Mutex<TLSIdentity>
    private let seen: Mutex<[FileStamp?]>

    /// How often the files are looked at.
    static let interval: Duration = .seconds(1)

    /// Reads the files and has the hub use them. Throws what is wrong with them.
    init(_ settings: ServerSettings, _ hub: Hub, _ logger: Logger) throws(CoreFault) {
        let files = TLSIdentity.Files(settings)
        self.files = files
        self.hub = hub
        self.logger = logger
        seen = Mutex(files.all.map { FileStamp($0) })
        let identity = try TLSIdentity(files)
        try hub.use(identity)
        Self.report(identity, "certificates", logger)
        present = Mutex(identity)
    }

    /// When the first of the certificates in use ends, in seconds since 1970.
    var expiry: Int64 { present.withLock { $0.expiry } }

    /// Reads the files again whenever they change or SIGHUP comes, until the task is cancelled.
    func watch() async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask {
                for await _ in await UnixSignalsSequence(trapping: .sighup) {
                    self.reload(because: "SIGHUP")
                }
            }
            group.addTask {
                while (try? await Task.sleep(for: Self.interval)) != nil {
                    if self.haveFilesChanged() { self.reload(because: "a file has changed") }
                }
            }
        }
    }

    private func haveFilesChanged() -> Bool {
        let now = files.all.map { FileStamp($0) }
        return seen.withLock { seen in
            defer { seen = now }
            return seen != now
        }
    }

    private func reload(because reason: String) {
        present.withLock { present in
            do throws(CoreFault) {
                let identity = try TLSIdentity(files, replacing: present)
                try hub.use(identity)
                Self.report(identity, "certificates read again: \(reason)", logger)
                present = identity
            } catch {
                logger.error("certificates not read again, the old ones stay: \(error)")
            }
        }
    }

    private static func report(_ identity: TLSIdentity, _ what: String, _ logger: Logger) {
        let expiry = Date(timeIntervalSince1970: TimeInterval(identity.expiry))
        logger.info("\(what)", metadata: ["expires": "\(expiry.formatted(.iso8601))"])
        if expiry < Date() { logger.warning("a certificate has expired") }
    }
}

/// What tells that a file was written or replaced.
struct FileStamp: Equatable {
    let device: UInt64
    let inode: UInt64
    let size: Int64
    let seconds: Int
    let nanoseconds: Int

    /// Nil if there is no such file.
    init?(_ path: String) {
        var status = stat()
        guard unsafe stat(path, &status) == 0 else { return nil }
        device = UInt64(status.st_dev)
        inode = UInt64(status.st_ino)
        size = Int64(status.st_size)
        #if canImport(Darwin)
        (seconds, nanoseconds) = (status.st_mtimespec.tv_sec, status.st_mtimespec.tv_nsec)
        #else
        (seconds, nanoseconds) = (status.st_mtim.tv_sec, status.st_mtim.tv_nsec)
        #endif
    }
}

extension TLSIdentity.Files {
    fileprivate init(_ settings: ServerSettings) {
        let pairs = zip(settings.tlsCertificates, settings.tlsKeys).map {
            TLSIdentity.Pair(certificateFile: $0, keyFile: $1)
        }
        self.init(
            pairs: pairs, clientAuthorityFile: settings.tlsClientCA, isTLS13Only: settings.tlsMinVersion == .tls13)
    }

    /// All of the files.
    fileprivate var all: [String] {
        pairs.flatMap { [$0.certificateFile, $0.keyFile] } + (clientAuthorityFile.map { [$0] } ?? [])
    }
}
