/// Writes settings as a configuration file that can be read back.
public enum SettingsPrinter {
    /// The settings as YAML, each line with a comment that names where its value comes from.
    public static func yaml(_ loaded: LoadedSettings) -> String {
        let lines = SettingDescriptor.all.flatMap { setting in
            self.lines(of: setting, in: loaded.settings).map { (text: $0, origin: loaded.origin(of: setting.key)) }
        }
        // Comments stand under each other, but a long line doesn't push all others to the right.
        let column = lines.map(\.text.count).filter { $0 <= 48 }.max() ?? 0
        return lines.map { line in
            let padding = String(repeating: " ", count: max(0, column - line.text.count))
            return "\(line.text)\(padding)  # \(line.origin)\n"
        }.joined()
    }

    private static func lines(of setting: SettingDescriptor, in settings: ServerSettings) -> [String] {
        guard let texts = setting.write(settings) else {
            return ["# \(setting.key): not set"]
        }
        if setting.shape.isPlural {
            return texts.isEmpty
                ? ["\(setting.key): []"] : ["\(setting.key):"] + texts.map { "  - \(scalar($0))" }
        }
        return texts.map { "\(setting.key): \(scalar($0))" }
    }

    /// A text as a YAML scalar: plain if it can't be taken for anything else, in double quotes otherwise.
    private static func scalar(_ text: String) -> String {
        let isPlain =
            text.first?.isASCII == true && text.first?.isPunctuation == false && text != "null"
            && text.unicodeScalars.allSatisfy { scalar in
                switch scalar {
                case "a"..."z", "A"..."Z", "0"..."9", "-": true
                default: false
                }
            }
        return isPlain ? text : EscapedText.quoted(text)
    }
}
