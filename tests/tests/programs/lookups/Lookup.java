import java.net.Inet4Address;
import java.net.InetAddress;
import java.net.UnknownHostException;
import java.util.ArrayList;
import java.util.List;

/** Looks names up in a JVM; one line for each argument KIND:NAME (see languages.rs). */
public class Lookup {
    public static void main(String[] arguments) {
        for (String argument : arguments) {
            String[] parts = argument.split(":", 2);
            try {
                System.out.println(argument + " " + String.join(" ", lookUp(parts[0], parts[1])));
            } catch (UnknownHostException error) {
                System.out.println(argument + " ! " + error.getMessage());
            }
        }
    }

    private static List<String> lookUp(String kind, String name) throws UnknownHostException {
        List<String> found = new ArrayList<>();
        if (kind.equals("reverse")) {
            InetAddress address = InetAddress.getByName(name);
            if (address.getCanonicalHostName().equals(address.getHostAddress())) {
                throw new UnknownHostException("no name");
            }
            found.add(address.getCanonicalHostName());
            return found;
        }
        for (InetAddress address : InetAddress.getAllByName(name)) {
            if (kind.equals("all") || address instanceof Inet4Address) {
                found.add(address.getHostAddress());
            }
        }
        return found;
    }
}
